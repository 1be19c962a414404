"""Running the programs of PostgreSQL: as which account, where, and with what environment."""

import os
import subprocess
import sys
from pathlib import Path

from workstation.server.postgres.account import Account

ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
"""Nothing of ours: a PG… variable would change what the programs do, and the rest is not their business."""


def place(data: Path, account: Account | None) -> str:
    """How a program running in `data` is told of it.

    Another account cannot walk the path when a folder above is closed to it, as root's home is. It starts
    inside, and the kernel's name for its working folder leads there without a walk: nothing has to be opened
    to anybody.
    """
    return "/proc/self/cwd" if account is not None and sys.platform == "linux" else str(data)


def run(argv: list[str], data: Path, account: Account | None, text: str = "") -> subprocess.CompletedProcess[str]:
    """Run a program to its end inside `data`, with `text` as its input, out of reach of Ctrl-C."""
    return subprocess.run(
        argv,
        cwd=data,
        env=ENVIRONMENT,
        input=text,
        capture_output=True,
        text=True,
        umask=0o077,
        start_new_session=True,
        check=False,
        **(account.as_arguments() if account else {}),
    )


def spawn(argv: list[str], data: Path, account: Account | None, log: int) -> subprocess.Popen[bytes]:
    """Start a program inside `data`, in a session of its own, with `log` as its output."""
    return subprocess.Popen(
        argv,
        cwd=data,
        env=ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        umask=0o077,
        start_new_session=True,
        **(account.as_arguments() if account else {}),
    )


def sync_folder(folder: Path) -> None:
    """Make what was renamed or made in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
