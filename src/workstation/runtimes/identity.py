"""Who a process is: a pid alone is not an identity, because pids are used again."""

import platform
from functools import cache
from pathlib import Path

import psutil

LAUNCH_VARIABLE = "WORKSTATION_LAUNCH"
ON_LINUX = platform.system() == "Linux"


@cache
def boot_id() -> str:
    """Names this boot of the machine; a pid of another boot is somebody else."""
    if ON_LINUX:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return str(int(psutil.boot_time()))


def birth_of(pid: int) -> str | None:
    """When process `pid` began, in a form that never changes while it lives; None where there is none.

    On Linux these are the clock ticks since boot: a wall-clock start time moves when the clock is set.
    """
    if not ON_LINUX:
        return _birth_by_clock(pid)
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    after_name = stat.rpartition(")")[2].split()
    return after_name[19]


def _birth_by_clock(pid: int) -> str | None:
    try:
        return str(psutil.Process(pid).create_time())
    except psutil.NoSuchProcess:
        return None


def launch_of(pid: int) -> str | None:
    """The launch id in the environment of process `pid`; None where it has none or it cannot be read."""
    try:
        return psutil.Process(pid).environ().get(LAUNCH_VARIABLE)
    except (psutil.Error, OSError):
        # Unreadable is not foreign: some programs overwrite their environment with a title,
        # and one that is still being loaded shows none.
        return None
