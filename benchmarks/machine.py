"""What the run ran on, and how much of the machine others took meanwhile."""

from __future__ import annotations

import os
import platform
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmarks.processes import tree_cpu_seconds


def machine() -> dict[str, str]:
    """Cores, processor, memory, kernel and Python of this machine."""
    return {
        "cores": str(os.cpu_count()),
        "processor": _processor(),
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@dataclass
class Neighbours:
    """Processor time that was not ours since this was made: other programs, and what the hypervisor took."""

    _started_at: float = field(default_factory=time.perf_counter)
    _busy: float = field(default_factory=lambda: _busy())
    _stolen: float = field(default_factory=lambda: float(getattr(psutil.cpu_times(), "steal", 0.0)))
    _own: float = field(default_factory=lambda: tree_cpu_seconds(os.getpid()))

    def shares(self) -> tuple[float, float]:
        """Percent of the whole machine used by other programs, and percent stolen by the hypervisor."""
        capacity = (time.perf_counter() - self._started_at) * (os.cpu_count() or 1)
        own = tree_cpu_seconds(os.getpid()) - self._own
        stolen = float(getattr(psutil.cpu_times(), "steal", 0.0)) - self._stolen
        return max(0.0, (_busy() - self._busy - own) / capacity * 100), stolen / capacity * 100


def _busy() -> float:
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system + times.irq + times.softirq)
