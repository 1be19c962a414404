"""A process with everything it started: found, measured, ended."""

import os
import time

import psutil

from workstation.runtimes.driver import Usage
from workstation.runtimes.exits import is_alive
from workstation.runtimes.identity import launch_of

KILL_SECONDS = 5
POLL_SECONDS = 0.005


def members_of(launch: str, leader: int | None) -> set[psutil.Process]:
    """All processes of a launch: those that carry its id, are in the session of `leader`, or under it.

    With the leader gone (None) its number may belong to a stranger, so only the launch id counts then.
    """
    found = {process for process in psutil.process_iter() if _belongs(process.pid, launch, leader)}
    if leader is not None:
        found |= _descendants(leader)
    return {process for process in found if process.pid != os.getpid()}


def _belongs(pid: int, launch: str, leader: int | None) -> bool:
    if leader is not None and _session_of(pid) == leader:
        return True
    return launch_of(pid) == launch


def _session_of(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except (ProcessLookupError, PermissionError):
        return None


def _descendants(pid: int) -> set[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return {process, *process.children(recursive=True)}
    except psutil.NoSuchProcess:
        return set()


def end_by_force(processes: set[psutil.Process]) -> None:
    """Kill these processes and wait until they are gone (at most 5 s); ended ones are left alone."""
    for process in processes:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
        except psutil.AccessDenied:
            continue  # A set-uid program of another user: not ours to end.
    deadline = time.monotonic() + KILL_SECONDS
    # A zombie has ended: reaping is for its parent, and doing it here would lose a child's exit code.
    while time.monotonic() < deadline and any(is_alive(process.pid) for process in processes):
        time.sleep(POLL_SECONDS)


def usage_of(pid: int) -> Usage | None:
    """What process `pid` and its descendants use now; None where it does not exist."""
    tree = _descendants(pid)
    cpu, memory, count = 0.0, 0, 0
    for process in tree:
        try:
            with process.oneshot():
                times = process.cpu_times()
                cpu += times.user + times.system
                memory += process.memory_info().rss
                count += 1
        except psutil.NoSuchProcess:
            continue
    return Usage(cpu, memory, count) if count else None
