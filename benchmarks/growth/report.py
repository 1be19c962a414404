"""The points of a growth run as Markdown, each beside the point it is compared with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

MOST_COST = 2.0
LEAST_RATE = 0.9
BY_RATE = "retention"


@dataclass(frozen=True)
class Point:
    """One measurement: tasks a second, processor µs a task of PostgreSQL and of its claiming connection alone."""

    name: str
    rate: float
    postgres: float
    claim: float
    against: str | None = None


@dataclass(frozen=True)
class Verdict:
    """A point beside the one it is compared with."""

    point: Point
    cost: float
    rate: float

    @property
    def goal(self) -> str:
        """What is asked of it."""
        return f"median rate ≥ {LEAST_RATE}×" if BY_RATE in self.point.name else f"cost ≤ {MOST_COST:g}×"

    @property
    def met(self) -> bool:
        """Whether it is."""
        return self.rate >= LEAST_RATE if BY_RATE in self.point.name else self.cost <= MOST_COST


def verdicts(points: Sequence[Point]) -> list[Verdict]:
    """One for each point that has another to be compared with. Raises KeyError when that one is missing.

    A rate is that of a few seconds, so turns of the same kind are judged by the median of theirs.
    """
    by_name = {point.name: point for point in points}
    pairs = [(point, by_name[point.against]) for point in points if point.against is not None]
    turns = [point.rate / beside.rate for point, beside in pairs if BY_RATE in point.name]
    return [
        Verdict(
            point,
            point.postgres / beside.postgres,
            median(turns) if BY_RATE in point.name else point.rate / beside.rate,
        )
        for point, beside in pairs
    ]


def markdown(points: Sequence[Point], machine: Mapping[str, object], facts: Mapping[str, object]) -> Iterator[str]:
    """The report, line by line."""
    yield "# Growth results\n"
    yield (
        f"Machine: {machine['cores']} cores ({machine['processor']}), {machine['memory']} memory. Each point drains "
        "the same number of tasks with one agent process, on one server that keeps growing. Cost is the processor time "
        "of PostgreSQL a task, its background work included.\n"
    )
    yield "| | tasks/s | PostgreSQL µs | of it claiming | beside | cost | rate | goal | |"
    yield "|---|---|---|---|---|---|---|---|---|"
    judged = {verdict.point.name: verdict for verdict in verdicts(points)}
    for point in points:
        cells = [point.name, f"{point.rate:,.0f}", f"{point.postgres:.1f}", f"{point.claim:.1f}"]
        found = judged.get(point.name)
        if found is None:
            cells += ["–"] * 4 + [""]
        else:
            met = "met" if found.met else "missed"
            cells += [str(point.against), f"{found.cost:.2f}×", f"{found.rate:.2f}×", found.goal, met]
        yield "| " + " | ".join(cells) + " |"
    yield ""
    for name, value in facts.items():
        yield f"- {name}: {value}"
