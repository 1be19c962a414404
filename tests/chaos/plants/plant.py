"""A planted bug: an exact replacement of text in a copy of the product, and who is to catch it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.chaos.plan import Plan, PlannedFault, Submission, make_plan

TREES = ("src", "sdk/src")
_NEXT_SECTION = re.compile(r"\n(-- name: |\s*(async )?def |class )")


class Stale(Exception):
    """A replacement does not fit the source any more: one sentence that says where."""


@dataclass(frozen=True)
class Edit:
    """Replace old by new. It must be there once: in the file, or in the statement or function that `within` begins."""

    path: str
    old: str
    new: str
    within: str | None = None

    def applied_to(self, text: str) -> str:
        """The text with the replacement. Raises Stale."""
        start, end = self._section(text)
        found = text.count(self.old, start, end)
        if found != 1:
            raise Stale(f"{self.path} has {found} times {self.old!r} (within {self.within!r}); anchor it anew.")
        return text[:start] + text[start:end].replace(self.old, self.new) + text[end:]

    def _section(self, text: str) -> tuple[int, int]:
        if self.within is None:
            return 0, len(text)
        if text.count(self.within) != 1:
            raise Stale(f"{self.path} has {text.count(self.within)} times {self.within!r}; anchor it anew.")
        start = text.index(self.within)
        following = _NEXT_SECTION.search(text, start + len(self.within))
        return start, following.start() + 1 if following else len(text)


@dataclass(frozen=True)
class Options:
    """How the fault suite is run. faults: (second, name, how long, target); none: nothing is broken.

    timeout_ms: no working task has less. work_seconds: how long each works. cancelled_seconds: how long the tasks work
    that clients cancel; they do so after a moment then.
    """

    seed: int = 1
    seconds: float = 20
    replicas: int = 1
    load: str = "mixed"
    faults: tuple[tuple[float, str, float, int], ...] = ()
    fail_points: str = ""
    timeout_ms: int = 0
    work_seconds: float | None = None
    cancelled_seconds: float | None = None

    def plan(self) -> Plan:
        """The plan of the run."""
        made = make_plan(self.seed, self.seconds, self.replicas, self.load, [])
        planned = tuple(PlannedFault(at, name, seconds, target) for at, name, seconds, target in self.faults)
        return replace(made, submissions=tuple(map(self._adapted, made.submissions)), faults=planned)

    def _adapted(self, submission: Submission) -> Submission:
        tasks = []
        for task in submission.tasks:
            timeout_ms = max(task.timeout_ms, self.timeout_ms if task.behaviour == "work" else 0)
            seconds = task.seconds if self.work_seconds is None else self.work_seconds
            tasks.append(replace(task, timeout_ms=timeout_ms, seconds=seconds))
        if self.cancelled_seconds is not None and submission.cancel_after is not None:
            tasks[0] = replace(tasks[0], behaviour="work", seconds=self.cancelled_seconds, due_in=None)
            return replace(submission, tasks=tuple(tasks), cancel_after=0.5)
        return replace(submission, tasks=tuple(tasks))

    @property
    def environment(self) -> Mapping[str, str]:
        """What the servers have in their environment besides."""
        return {"WORKSTATION_FAIL_POINTS": self.fail_points} if self.fail_points else {}

    def __str__(self) -> str:
        parts = [f"seed {self.seed}", f"{self.load} for {self.seconds:.0f} s"]
        if self.replicas > 1:
            parts.append(f"{self.replicas} replicas")
        parts += [f"{name} at {at:.0f} s" for at, name, _, _ in self.faults]
        if self.timeout_ms:
            parts.append(f"timeouts of {self.timeout_ms / 1000:.0f} s")
        if self.work_seconds is not None:
            parts.append(f"tasks of {self.work_seconds:.0f} s")
        if self.cancelled_seconds is not None:
            parts.append(f"what is cancelled works for {self.cancelled_seconds:.0f} s")
        if self.fail_points:
            parts.append(self.fail_points)
        return ", ".join(parts)


@dataclass(frozen=True)
class Plant:
    """One bug. caught_by: invariants of which at least one must be broken; or test: tests of which one must fail."""

    name: str
    says: str
    edits: tuple[Edit, ...]
    caught_by: tuple[str, ...] = ()
    options: Options = field(default_factory=Options)
    test: str | None = None


def copy_product(root: Path, to: Path) -> None:
    """Copy what the processes of a run import."""
    for tree in TREES:
        shutil.copytree(root / tree, to / tree, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))


def plant(bug: Plant, tree: Path) -> None:
    """Put the bug into a copy. Raises Stale where it does not fit."""
    for edit in bug.edits:
        path = tree / edit.path
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError as error:
            raise Stale(f"{edit.path} is not there any more; anchor {bug.name} anew.") from error
        path.write_text(edit.applied_to(text), encoding="utf-8")
