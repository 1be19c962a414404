"""What one participant's turn yields: phases with their processor time, and single values."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Protocol


@dataclass(frozen=True)
class Phase:
    """`tasks` dealt with in `seconds` of wall clock, and the processor seconds each side spent meanwhile."""

    tasks: int
    seconds: float
    cpu: Mapping[str, float]

    @property
    def rate(self) -> float:
        """Tasks a second."""
        return self.tasks / self.seconds

    def micros(self, side: str) -> float:
        """Processor microseconds a task costs on that side."""
        return self.cpu[side] / self.tasks * 1e6


@dataclass
class Sample:
    """One participant's turn: named phases, and values with their unit in the name (`pickup_p50_ms`)."""

    phases: dict[str, Phase] = field(default_factory=dict)
    values: dict[str, float] = field(default_factory=dict)

    def as_json(self) -> dict[str, object]:
        """The sample as plain JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Effort:
    """How much of the full amount of work a turn does; `first` is true in the first round only."""

    scale: float = 1.0
    first: bool = True

    def of(self, amount: int) -> int:
        """The scaled amount, at least 50."""
        return max(50, int(amount * self.scale))


class Participant(Protocol):
    """Something measured. `note` is one sentence about its configuration and what it keeps."""

    @property
    def name(self) -> str: ...

    @property
    def note(self) -> str: ...

    async def prepare(self) -> str | None:
        """Installs what is needed; returns the reason when this machine cannot run it."""
        ...

    async def version(self) -> str:
        """The version under test, for the report."""
        ...

    async def measure(self, effort: Effort) -> Sample:
        """One turn. Raises when a number would not be honest (errors, tasks left over)."""
        ...


class Stopwatch:
    """Wall clock and each side's processor seconds since it was made."""

    def __init__(self, sides: Mapping[str, Callable[[], float]]) -> None:
        self._sides = sides
        self._started_at = asyncio.get_running_loop().time()
        self._before = {side: read() for side, read in sides.items()}

    def phase(self, tasks: int) -> Phase:
        """What happened up to now, as a phase of that many tasks."""
        seconds = asyncio.get_running_loop().time() - self._started_at
        cpu = {side: read() - self._before[side] for side, read in self._sides.items()}
        return Phase(tasks, seconds, cpu)


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest-rank percentile; `share` is between 0 and 1, `values` must not be empty."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
