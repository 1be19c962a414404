"""The server process: which one it is, whether it is ready, how it is ended."""

import os
import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

from workstation.runtimes.exits import is_alive
from workstation.server.postgres.failure import PostgresFailure
from workstation.server.postgres.inhabitants import end_inhabitants, inhabitants
from workstation.server.postgres.layout import SOCKET_NAME, Layout

PID_FILE = "postmaster.pid"
POLL_SECONDS = 0.005


def find_postmaster(layout: Layout) -> int | None:
    """The pid of the server that runs on this data folder, or None.

    The pid file is not believed: after a crash its number may belong to anybody. Either the kernel says who
    listens on our private socket, or a process is found whose working folder is the data folder itself (by
    inode, so a copied or moved folder does not mislead). Start times are not compared: they shift when the
    clock is set.
    """
    listener = _listener(layout.sockets)
    if listener == 0:
        raise PostgresFailure(
            f"The database in {layout.data} is served from outside of this container: stop that server first."
        )
    if listener is not None:
        return listener
    return next((process.pid for process in inhabitants(layout.data) if _is_postmaster(process)), None)


def _listener(sockets: Path) -> int | None:
    """The pid of who listens on our socket; 0 where it is outside of our view, None where nobody does."""
    if not hasattr(socket, "SO_PEERCRED"):
        return None
    folder = os.open(sockets, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(1)
            # By descriptor, because the real path may be longer than a socket's may be.
            probe.connect(f"/proc/self/fd/{folder}/{SOCKET_NAME}")
            credentials = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    except (FileNotFoundError, ConnectionRefusedError, TimeoutError, BlockingIOError):
        return None
    finally:
        os.close(folder)
    return int(struct.unpack("3i", credentials)[0])


def _is_postmaster(process: psutil.Process) -> bool:
    """Its children change their titles to "postgres: …"; it alone keeps its command line."""
    try:
        return "-D" in process.cmdline()
    except psutil.NoSuchProcess:
        return False


def program_of(layout: Layout) -> Path:
    """The program the running server was started from, as PostgreSQL notes it: links resolved."""
    return Path((layout.data / "postmaster.opts").read_text().split(' "', 1)[0])


def clear_away(layout: Layout) -> None:
    """With no server running, remove what would keep a new one from starting.

    Sessions that outlived a killed server are ended: they still write, and nobody watches over them any more.
    Pid files that name a living stranger are removed; others are left, because PostgreSQL judges them better
    itself.
    """
    end_inhabitants(layout.data)
    for lock in (layout.data / PID_FILE, layout.sockets / f"{SOCKET_NAME}.lock"):
        pid = _number_in(lock)
        if pid is None or not psutil.pid_exists(pid):
            continue
        _refuse_if_hidden(pid, lock)
        lock.unlink(missing_ok=True)


def _number_in(lock: Path) -> int | None:
    try:
        return abs(int(lock.read_text().split("\n", 1)[0]))
    except (FileNotFoundError, ValueError):
        return None


def _refuse_if_hidden(pid: int, lock: Path) -> None:
    """A stranger is one we can see to be elsewhere; what we may not look at could be the server."""
    try:
        psutil.Process(pid).cwd()
    except psutil.NoSuchProcess:
        return
    except psutil.AccessDenied as error:
        raise PostgresFailure(
            f"{lock} names process {pid}, which runs and may not be looked at: "
            f"if it is not a PostgreSQL, remove that file and start again."
        ) from error


def is_up(layout: Layout, pid: int) -> bool:
    """True once server `pid` says that it takes connections."""
    try:
        lines = (layout.data / PID_FILE).read_text().splitlines()
    except FileNotFoundError:
        return False
    return len(lines) > 7 and lines[0].strip() == str(pid) and lines[7].strip() == "ready"


def wait_until_up(layout: Layout, pid: int, timeout: float, abandoned: Callable[[], bool]) -> bool:
    """Wait until server `pid` takes connections.

    False where it ended first, `timeout` (seconds) passed, or `abandoned()` says to wait no longer.
    """
    deadline = time.monotonic() + timeout
    while is_alive(pid) and time.monotonic() < deadline and not abandoned():
        if is_up(layout, pid):
            return True
        time.sleep(POLL_SECONDS)
    return False


def send(pid: int, signal: int) -> None:
    """Signal the server; nothing happens where it has ended."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal)


def wait_until_gone(pid: int, timeout: float) -> bool:
    """Wait until process `pid` has ended; False where it has not within `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while is_alive(pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True
