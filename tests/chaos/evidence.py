"""The evidence of a run: what the database says at the end, and everything that was recorded on the way."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

from tests.chaos.faults import FAULTS, Kind
from tests.chaos.processes import PostgresServer
from tests.chaos.recorder import Line

BUSY = "busy machine"
FINAL = ("completed", "failed", "cancelled")


@dataclass(frozen=True)
class Task:
    """A row of agent_tasks."""

    id: int
    status: str
    attempt: int
    version: int
    agent_id: int | None = None
    lane: str = "a1"
    priority: int = 5
    result: Any = None
    error: Any = None
    retry_count: int = 0
    max_retries: int = 3
    lost_count: int = 0
    dead_letter: bool = False
    created_by: str = "cli"
    idempotency_key: str | None = None
    run_at: float = 0.0
    completed_at: float | None = None


@dataclass(frozen=True)
class Attempt:
    """A try at a task. Instants are seconds of the wall clock."""

    task: int
    attempt: int
    instance: str
    claimed_at: float
    ended_at: float | None
    outcome: str | None
    agent_id: int = 1
    deadline_at: float = 0.0
    error: Any = None


@dataclass(frozen=True)
class Change:
    """What one event says of one task; at is when its transaction began."""

    task: int
    version: int
    attempt: int
    type: str
    at: float = 0.0


@dataclass(frozen=True)
class Window:
    """From when until when a fault lasted, by both clocks."""

    name: str
    begin: float
    end: float
    begin_wall: float
    end_wall: float

    @property
    def by_agents(self) -> bool:
        """Whether it was agents or clients that were broken, and not the server or the machine."""
        return self.name in FAULTS and FAULTS[self.name].kind is Kind.AGENT

    @property
    def outage(self) -> bool:
        """Whether tasks may stop flowing, and are promised to flow again soon."""
        return self.name in FAULTS and FAULTS[self.name].outage


@dataclass(frozen=True)
class Evidence:
    """Everything the checker looks at. counts: the sums of task_counts by agent."""

    tasks: Mapping[int, Task]
    attempts: tuple[Attempt, ...]
    changes: tuple[Change, ...]
    lines: tuple[Line, ...]
    counts: Mapping[int | None, Mapping[str, int]] = field(default_factory=dict)
    replicas: int = 1
    slack: float = 2.0

    def of(self, *whats: str) -> Iterable[Line]:
        """The lines of these kinds."""
        return (line for what in whats for line in self._by_what.get(what, ()))

    @cached_property
    def _by_what(self) -> Mapping[str, list[Line]]:
        found: dict[str, list[Line]] = defaultdict(list)
        for line in self.lines:
            found[line.what].append(line)
        return found

    @cached_property
    def attempts_of(self) -> Mapping[int, list[Attempt]]:
        """The attempts at each task, in order."""
        found: dict[int, list[Attempt]] = defaultdict(list)
        for attempt in sorted(self.attempts, key=lambda a: (a.task, a.attempt, a.claimed_at)):
            found[attempt.task].append(attempt)
        return found

    @cached_property
    def changes_of(self) -> Mapping[int, list[Change]]:
        """The changes of each task, by version."""
        found: dict[int, list[Change]] = defaultdict(list)
        for change in sorted(self.changes, key=lambda c: (c.task, c.version)):
            found[change.task].append(change)
        return found

    @cached_property
    def windows(self) -> tuple[Window, ...]:
        """The faults that were carried out, and starts of orchestrators, which are outages to their agents."""
        found, open_lines = [], {}
        skipped = {(line["name"], line.at) for line in self.of("fault skipped")}
        for line in sorted(self.of("fault begins", "fault ends"), key=lambda line: line.at):
            name = line["name"]
            if line.what == "fault begins":
                open_lines[name] = line
            elif name in open_lines:
                begun = open_lines.pop(name)
                if not any(name == other and begun.at <= at <= line.at for other, at in skipped):
                    found.append(Window(name, begun.at, line.at, begun.wall, line.wall))
        return tuple(found)

    @cached_property
    def outages(self) -> tuple[Window, ...]:
        """Windows in which tasks may stop flowing: such faults, starts of an orchestrator, a machine at its limit.

        Bounds of time are not judged near them.
        """
        named = [window for window in self.windows if not window.by_agents]
        starts = [
            Window("start", line.at, line.at, line.wall, line.wall)
            for line in self.of("orchestrator ended", "orchestrator started", "orchestrator ready")
        ]
        starved = [
            Window(BUSY, line.at - line["seconds"], line.at, line.wall - line["seconds"], line.wall)
            for line in self.of("starved")
        ]
        return (*named, *starts, *starved)

    def had_time(self, begin: float, end: float) -> bool:
        """Whether the machine had time for us between these instants of the wall clock."""
        return not any(w.name == BUSY and w.begin_wall < end and begin < w.end_wall for w in self.outages)

    def was_punctual(self, begin: float, end: float) -> bool:
        """Whether the harness itself was on time between these instants of the monotonic clock."""
        return not any(begin < line.at and line["since"] < end for line in self.of("late"))

    @property
    def starved_seconds(self) -> float:
        """For how long the machine was too busy to hold any promise of time."""
        return sum(float(line["seconds"]) for line in self.of("starved"))


async def gather_evidence(postgres: PostgresServer, lines: Iterable[Line], replicas: int, slack: float) -> Evidence:
    """Read the database, and put it beside the record."""
    tasks = {row["id"]: _task(row) for row in await postgres.rows("select * from agent_tasks")}
    attempts = tuple(_attempt(row) for row in await postgres.rows("select * from attempts"))
    changes = tuple(
        Change(row["task"], row["version"], row["attempt"], row["type"], row["at"].timestamp())
        for row in await postgres.rows(
            "select e.type, e.at, i.* from events e, "
            "unnest(e.tasks, e.versions, e.attempts) as i (task, version, attempt)"
        )
    )
    counts = {row["agent_id"]: dict(row) for row in await postgres.rows(COUNTS)}
    return Evidence(tasks, attempts, changes, tuple(lines), counts, replicas, slack)


COUNTS = """
select agent_id, sum(waiting)::bigint as waiting, sum(pending)::bigint as pending, sum(running)::bigint as running,
       sum(completed)::bigint as completed, sum(failed)::bigint as failed, sum(cancelled)::bigint as cancelled
from task_counts group by 1
"""


def _seconds(instant: datetime | None) -> float | None:
    return None if instant is None else instant.timestamp()


def _json(text: str | None) -> Any:
    return None if text is None else json.loads(text)


def _task(row: Any) -> Task:
    return Task(
        row["id"],
        row["status"],
        row["attempt"],
        row["version"],
        row["agent_id"],
        row["lane"],
        row["priority"],
        _json(row["result"]),
        _json(row["error"]),
        row["retry_count"],
        row["max_retries"],
        row["lost_count"],
        row["dead_letter"],
        row["created_by"],
        row["idempotency_key"],
        row["run_at"].timestamp(),
        _seconds(row["completed_at"]),
    )


def _attempt(row: Any) -> Attempt:
    return Attempt(
        row["task_id"],
        row["attempt"],
        str(row["instance_id"]),
        row["claimed_at"].timestamp(),
        _seconds(row["ended_at"]),
        row["outcome"],
        row["agent_id"],
        row["deadline_at"].timestamp(),
        _json(row["error"]),
    )
