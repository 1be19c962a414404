"""Ends what a test run started, however the run ends: servers, their PostgreSQL, agents, also frozen ones.

Run as a program with a folder; its standard input is held open by the test run. When that closes, every process that
lives in the folder (works in it, or writes its output into it) is ended, and the folder is removed.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

PATIENCE_SECONDS = 5.0


@contextmanager
def guarded_folder() -> Iterator[Path]:
    """A new folder; who lives in it at the end, or at the death of this process, is ended."""
    folder = Path(tempfile.mkdtemp(prefix="workstation-live-"))
    guardian = subprocess.Popen(
        [sys.executable, __file__, str(folder)], stdin=subprocess.PIPE, start_new_session=True, cwd="/"
    )
    assert guardian.stdin is not None
    try:
        yield folder
    finally:
        guardian.stdin.close()
        guardian.wait(timeout=60)
    assert guardian.returncode == 0 and not folder.exists(), f"{folder} could not be cleared"


def inhabitants(folder: Path) -> list[psutil.Process]:
    """The processes that work in the folder or write their output into it, the guardian itself left out."""
    home = str(folder.resolve())
    return [process for process in psutil.process_iter() if process.pid != os.getpid() and _lives_in(process, home)]


def _lives_in(process: psutil.Process, home: str) -> bool:
    places = []
    with suppress(psutil.Error, OSError):
        places.append(process.cwd())
    with suppress(psutil.Error, OSError):
        places.extend(file.path for file in process.open_files())
    return any(place == home or place.startswith(f"{home}/") for place in places)


def clear(folder: Path) -> None:
    """End everybody who lives in the folder, then remove it."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while living := inhabitants(folder):
        late = time.monotonic() > deadline
        for process in living:
            with suppress(psutil.Error):
                # PostgreSQL gives its shared memory back only when it ends by itself.
                is_postmaster = process.name() == "postgres" and "-D" in process.cmdline()
                process.send_signal(signal.SIGQUIT if is_postmaster and not late else signal.SIGKILL)
        psutil.wait_procs(living, timeout=1)
    for mounted in _mounts_below(folder):
        subprocess.run(["umount", "--lazy", str(mounted)], check=True)
    shutil.rmtree(folder, ignore_errors=False)


def _mounts_below(folder: Path) -> list[Path]:
    if not os.path.exists("/proc/self/mounts"):
        return []
    with open("/proc/self/mounts") as mounts:
        places = [Path(line.split(" ")[1]) for line in mounts]
    return [place for place in places if place.is_relative_to(folder.resolve())]


if __name__ == "__main__":
    sys.stdin.read()
    clear(Path(sys.argv[1]))
