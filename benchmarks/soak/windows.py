"""What the samples say: the second quarter of the time against the last."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

GOAL = 1.05


@dataclass(frozen=True)
class Growth:
    """One process: its mean memory in MB in the second and in the last quarter, the greatest, and open files."""

    name: str
    second: float
    last: float
    most: float
    files: tuple[int, int]

    @property
    def ratio(self) -> float:
        """Above 1: it grew."""
        return self.last / self.second

    @property
    def met(self) -> bool:
        """Whether it stayed within the goal."""
        return self.ratio <= GOAL


def growth(name: str, memory: Sequence[float], files: Sequence[int]) -> Growth:
    """From samples taken at even intervals over the whole time. Raises ValueError when there are fewer than eight."""
    if len(memory) < 8:
        raise ValueError(f"{name} has {len(memory)} samples; run for longer")
    quarter = len(memory) // 4
    return Growth(
        name, fmean(memory[quarter : 2 * quarter]), fmean(memory[-quarter:]), max(memory), (files[quarter], files[-1])
    )


def markdown(found: Sequence[Growth], minutes: float, facts: Mapping[str, object]) -> Iterator[str]:
    """The report, line by line."""
    yield "# Soak results\n"
    yield (
        f"A steady mixed load for {minutes:.0f} minutes. Memory is what is resident, in MB, sampled every 10 seconds; "
        "of PostgreSQL it is the sum of its processes with what they share counted once. The goal is that the mean of "
        f"the last quarter is at most {GOAL} times that of the second quarter.\n"
    )
    yield "| process | second quarter | last quarter | ratio | most | open files then and now | |"
    yield "|---|---|---|---|---|---|---|"
    for one in found:
        yield (
            f"| {one.name} | {one.second:.1f} | {one.last:.1f} | {one.ratio:.3f} | {one.most:.1f} "
            f"| {one.files[0]} → {one.files[1]} | {'met' if one.met else 'missed'} |"
        )
    yield ""
    for name, value in facts.items():
        yield f"- {name}: {value}"
