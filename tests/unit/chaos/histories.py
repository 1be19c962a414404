"""Histories made by hand for tests of the checker: a clean one, to be spoiled in one place."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.chaos.evidence import Attempt, Change, Evidence, Task
from tests.chaos.recorder import Line

BEGIN = 1_000_000.0
"""When the run began, by the wall clock; the monotonic clock reads 0."""


def line(at: float, what: str, who: str = "client", **about: Any) -> Line:
    """A line of the record, `at` seconds after the beginning."""
    return Line(at, BEGIN + at, who, what, about)


class History:
    """Builds evidence. Times are seconds after the beginning."""

    def __init__(self) -> None:
        self.tasks: dict[int, Task] = {}
        self.attempts: list[Attempt] = []
        self.changes: list[Change] = []
        self.lines: list[Line] = []
        self.replicas = 1

    def record(self, at: float, what: str, **about: Any) -> None:
        """A line of the record."""
        self.lines.append(line(at, what, **about))

    def change(self, at: float, task: int, kind: str, attempt: int) -> None:
        """The next event of a task."""
        version = 1 + sum(change.task == task for change in self.changes)
        self.changes.append(Change(task, version, attempt, f"task.{kind}", BEGIN + at))

    def create(self, task: int, at: float, **fields: Any) -> None:
        """A client creates a task and is told so."""
        key = f"key-{task}"
        self.tasks[task] = Task(task, "pending", 0, 1, 1, idempotency_key=key, run_at=BEGIN + at, **fields)
        self.change(at, task, "created", 0)
        self.record(at, "accepted", key=key, tasks=[task], replayed=False)

    def attempt(self, task: int, at: float, until: float, outcome: str, instance: str = "i1", pid: int = 100) -> None:
        """An instance is given the task, and that try ends with an outcome. Fields of the row follow by `end`."""
        number = 1 + sum(attempt.task == task for attempt in self.attempts)
        self.attempts.append(Attempt(task, number, instance, BEGIN + at, BEGIN + until, outcome))
        self.change(at, task, "started", number)
        about = {"task": task, "attempt": number, "instance": instance, "pid": pid}
        self.record(at, "given", **about)
        if outcome == "completed":
            self.record(until, "reports", **about, said=f"{task}-{number}")
            self.record(until, "told", **about, kind="done", status="completed", code=None)

    def end(self, task: int, at: float, kind: str, **fields: Any) -> None:
        """The row and its last event."""
        number = sum(attempt.task == task for attempt in self.attempts)
        self.change(at, task, kind, number)
        status = {"completed": "completed", "failed": "failed", "cancelled": "cancelled"}.get(kind, "pending")
        versions = sum(change.task == task for change in self.changes)
        result = {"said": f"{task}-{number}"} if status == "completed" else None
        final = {"status": status, "attempt": number, "version": versions, "result": result}
        self.tasks[task] = replace(self.tasks[task], **{**final, "completed_at": BEGIN + at, **fields})

    def completed(self, task: int, at: float = 1.0, **fields: Any) -> None:
        """A whole life: created, tried once, completed."""
        self.create(task, at, **fields)
        self.attempt(task, at + 0.1, at + 0.5, "completed")
        self.end(task, at + 0.5, "completed")

    def evidence(self, **more: Any) -> Evidence:
        """What the checker is given, with counts that are right."""
        counts: dict[int | None, dict[str, int]] = {}
        for task in self.tasks.values():
            of_agent = counts.setdefault(task.agent_id, {})
            of_agent[task.status] = of_agent.get(task.status, 0) + 1
        fields = {"counts": counts, "replicas": self.replicas, **more}
        return Evidence(self.tasks, tuple(self.attempts), tuple(self.changes), tuple(self.lines), **fields)
