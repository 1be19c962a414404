"""Processes that live in a data folder: a pid file can lie about them, their working folder cannot."""

import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

from workstation.server.postgres.failure import PostgresFailure

OURS = ("postgres", "initdb")
PATIENCE_SECONDS = 10
POLL_SECONDS = 0.005


def inhabitants(data: Path) -> Iterator[psutil.Process]:
    """The living PostgreSQL processes whose working folder is `data`, as far as we may see them."""
    home = data.stat()
    by_link = Path("/proc/self/cwd").exists()
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.name() not in OURS:
                continue
            cwd = Path(f"/proc/{process.pid}/cwd" if by_link else process.cwd()).stat()
            if (cwd.st_dev, cwd.st_ino) == (home.st_dev, home.st_ino):
                yield process


def end_inhabitants(data: Path) -> None:
    """Kill the PostgreSQL processes that live in `data`, and what those start meanwhile."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while living := list(inhabitants(data)):
        if time.monotonic() > deadline:
            raise PostgresFailure(f"Process {living[0].pid} in {data} cannot be ended: see its disk.")
        for process in living:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        time.sleep(POLL_SECONDS)
