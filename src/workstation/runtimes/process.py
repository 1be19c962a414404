"""Copies of agents as processes of this machine, each in a session of its own."""

import asyncio
import errno
import os
import resource
import subprocess
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil

from workstation.runtimes import log_files
from workstation.runtimes.commands import Command, inherited, resolve, search_path_of
from workstation.runtimes.driver import (
    CopyState,
    Handle,
    LaunchSpec,
    Limits,
    Observation,
    RuntimeFailure,
    Usage,
    utc_now,
)
from workstation.runtimes.exits import wait_for_exit
from workstation.runtimes.identity import LAUNCH_VARIABLE, ON_LINUX, birth_of, boot_id, launch_of
from workstation.runtimes.process_tree import end_by_force, members_of, usage_of

REMEMBERED_EXITS = 1000
PASSING = {errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.ETXTBSY}


class ProcessDriver:
    """Runs `{"builtin": NAME}` and `{"command": [...]}`.

    A copy writes straight into its log file and sits in its own session: it survives our death, and a fresh
    driver finds it by pid, start time and launch id. A memory limit bounds the data of each of its processes.
    """

    name = "process"

    def __init__(
        self,
        environment: Mapping[str, str],
        *,
        log_bytes: int = 10 * 1024 * 1024,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        """`environment` is the process's own; a copy gets only a few harmless names of it."""
        self._inherited = inherited(environment)
        self._inherited["PATH"] = search_path_of(environment)
        self._log_bytes = log_bytes
        self._now = now
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._reapers: dict[str, asyncio.Task[None]] = {}
        self._exits: dict[str, Observation] = {}

    async def start(self, spec: LaunchSpec) -> Handle:
        """Start one copy; it runs when this returns, though it may end at once: `inspect` tells."""
        command = resolve(spec.run, self._inherited["PATH"])
        _check_limits(spec.limits)
        launch = str(spec.launch_id)
        environment = {**self._inherited, **command.env, **spec.env, LAUNCH_VARIABLE: launch}
        child = await _whole(asyncio.to_thread(self._spawn, command, environment, spec))
        self._children[launch] = child
        self._reapers[launch] = asyncio.create_task(self._reap(launch, child), name=f"reap {spec.agent_name}")
        return {
            "driver": self.name,
            "pid": child.pid,
            "birth": birth_of(child.pid),
            "boot": boot_id(),
            "launch": launch,
            "log": str(spec.log_path),
        }

    def _spawn(self, command: Command, environment: dict[str, str], spec: LaunchSpec) -> subprocess.Popen[bytes]:
        try:
            log_files.bound_log(spec.log_path, self._log_bytes)
            log = log_files.open_log(spec.log_path)
            try:
                child = subprocess.Popen(
                    command.argv,
                    cwd=command.cwd,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            finally:
                os.close(log)
        except OSError as error:
            raise RuntimeFailure(
                f"{command.argv[0]} could not be started: {error.strerror or error}.",
                retryable=error.errno in PASSING,
            ) from error
        _apply_limits(child.pid, spec.limits)
        return child

    async def _reap(self, launch: str, child: subprocess.Popen[bytes]) -> None:
        await wait_for_exit(child.pid)
        self._note_exit(launch, child)

    def _note_exit(self, launch: str, child: subprocess.Popen[bytes]) -> None:
        code = child.wait()
        self._children.pop(launch, None)
        self._reapers.pop(launch, None)
        if launch in self._exits:
            return
        self._exits[launch] = Observation(
            CopyState.EXITED,
            self._now(),
            code=code if code >= 0 else None,
            signal=-code if code < 0 else None,
        )
        while len(self._exits) > REMEMBERED_EXITS:
            del self._exits[next(iter(self._exits))]

    async def inspect(self, handle: Handle) -> Observation:
        """Look once; also keeps the log file within its bound."""
        await asyncio.to_thread(log_files.bound_log, Path(handle["log"]), self._log_bytes)
        return self._observe(handle)

    def _observe(self, handle: Handle) -> Observation:
        launch = handle["launch"]
        child = self._children.get(launch)
        if child is not None and child.poll() is not None:
            self._note_exit(launch, child)
        if launch in self._exits:
            return self._exits[launch]
        if not _is_same(handle):
            return Observation(CopyState.GONE, self._now())
        try:
            process = psutil.Process(handle["pid"])
            if process.status() == psutil.STATUS_ZOMBIE:
                if child is not None:
                    # It ended since it was polled a moment ago; how it ended is ours to collect.
                    self._note_exit(launch, child)
                    return self._exits[launch]
                return Observation(CopyState.EXITED, self._now())
            return Observation(CopyState.RUNNING, datetime.fromtimestamp(process.create_time(), UTC))
        except psutil.NoSuchProcess:
            return Observation(CopyState.GONE, self._now())
        except psutil.AccessDenied:
            return Observation(CopyState.UNKNOWN, self._now())

    async def wait(self, handle: Handle) -> Observation:
        """Wait for the end, also of a copy that an earlier server process started."""
        while (seen := self._observe(handle)).running:
            await wait_for_exit(handle["pid"])
        return seen

    async def stop(self, handle: Handle, grace: timedelta) -> Observation:
        """TERM to the leader; KILL after `grace` to its whole session; what it leaves behind is killed too.

        What started as its descendant is found by session and by launch id, so daemons it made end with it.
        """
        if self._observe(handle).running:
            await self._stop_leader(handle, grace)
        else:
            await asyncio.to_thread(end_by_force, members_of(handle["launch"], leader=None))
        return self._observe(handle)

    async def _stop_leader(self, handle: Handle, grace: timedelta) -> None:
        pid, launch = handle["pid"], handle["launch"]
        family = await asyncio.to_thread(members_of, launch, leader=pid)
        _terminate(pid)
        try:
            async with asyncio.timeout(grace.total_seconds()):
                await self.wait(handle)
        except TimeoutError:
            family |= await asyncio.to_thread(members_of, launch, leader=pid)
        else:
            family |= await asyncio.to_thread(members_of, launch, leader=None)
        await asyncio.to_thread(end_by_force, family)
        if self._observe(handle).running:
            raise RuntimeFailure(f"Process {pid} does not end, not even by force: look at it.", retryable=True)

    async def logs(self, handle: Handle, lines: int) -> list[str]:
        """The last lines of its output, from before our restart too."""
        return await asyncio.to_thread(log_files.tail, Path(handle["log"]), lines)

    async def follow(self, handle: Handle, lines: int = 10) -> AsyncIterator[str]:
        """The last lines, then new ones until the copy has ended."""
        source = log_files.follow(Path(handle["log"]), lines, lambda: not self._observe(handle).running)
        async with aclosing(source) as output:
            async for line in output:
                yield line

    async def stats(self, handle: Handle) -> Usage | None:
        """CPU, memory and number of its processes, or None when it does not run."""
        if not self._observe(handle).running:
            return None
        return await asyncio.to_thread(usage_of, handle["pid"])

    async def close(self) -> None:
        """Stop watching. The copies keep running, for the next server to find."""
        for task in list(self._reapers.values()):
            task.cancel()
        await asyncio.gather(*self._reapers.values(), return_exceptions=True)
        self._reapers.clear()


async def _whole(spawning: Coroutine[Any, Any, subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
    """Wait for a start. A caller who gives up meanwhile leaves no process that nobody knows of."""
    start = asyncio.ensure_future(spawning)
    try:
        return await asyncio.shield(start)
    except asyncio.CancelledError:
        child = await start
        child.kill()
        await asyncio.to_thread(child.wait)
        raise


def _is_same(handle: Handle) -> bool:
    if handle["boot"] != boot_id() or birth_of(handle["pid"]) != handle["birth"]:
        return False
    return launch_of(handle["pid"]) in (None, handle["launch"])


def _terminate(pid: int) -> None:
    try:
        psutil.Process(pid).terminate()
    except psutil.NoSuchProcess:
        return
    except psutil.AccessDenied as error:
        raise RuntimeFailure(
            f"Process {pid} may not be stopped by this user: run the server as the user who started it.",
            retryable=False,
        ) from error


def _check_limits(limits: Limits) -> None:
    if limits.cpus is not None:
        raise RuntimeFailure(
            'A process cannot be limited in "cpus" here: remove it from the run spec or run a container.',
            retryable=False,
        )
    if limits.memory_bytes is not None and not ON_LINUX:
        raise RuntimeFailure(
            'A process cannot be limited in "memory" on this system: remove it from the run spec.',
            retryable=False,
        )


def _apply_limits(pid: int, limits: Limits) -> None:
    if limits.memory_bytes is None or not ON_LINUX:
        return
    try:
        resource.prlimit(pid, resource.RLIMIT_DATA, (limits.memory_bytes, limits.memory_bytes))
    except ProcessLookupError:
        return  # It has ended already; its exit is reported as such.
