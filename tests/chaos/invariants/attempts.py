"""Attempts: one at a time, numbered once, bounded, counted, and in the order of their priority."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise

from tests.chaos.evidence import Attempt, Evidence, Task, Window

MAX_LOSSES = 3
# The reaper needs this much unbroken contact before it reaps, and a lease more before it charges.
SETTLED_AFTER_SECONDS = 6.0
LEASE_SECONDS = 15.0
# Instants are those of the beginning of a transaction, which may have waited for the one that it follows.
TRANSACTION_SECONDS = 1.5
# Wake-ups across replicas may lag by one poll, and a redelivery by one heartbeat.
ORDER_SECONDS = 3.0


def attempts_never_overlap(evidence: Evidence) -> list[str]:
    """The next attempt at a task is claimed when the one before has ended."""
    broken = []
    for task, attempts in evidence.attempts_of.items():
        for earlier, later in pairwise(attempts):
            if earlier.ended_at is None or earlier.ended_at > later.claimed_at + TRANSACTION_SECONDS:
                broken.append(f"attempts {earlier.attempt} and {later.attempt} of task {task} overlap")
    return broken


def an_attempt_is_given_once(evidence: Evidence) -> list[str]:
    """An attempt number stands for one try by one process, in the database and for the agents."""
    broken = []
    for task, attempts in evidence.attempts_of.items():
        numbers = [attempt.attempt for attempt in attempts]
        if numbers != list(range(1, len(numbers) + 1)):
            broken.append(f"task {task} has the attempts {numbers}")
    given: dict[tuple[int, int], set[tuple[str, int]]] = defaultdict(set)
    for line in evidence.of("given"):
        given[line["task"], line["attempt"]].add((line["instance"], line["pid"]))
    return broken + [
        f"attempt {attempt} of task {task} was given to the processes {sorted(processes)}"
        for (task, attempt), processes in given.items()
        if len(processes) > 1
    ]


def _since_redrive(evidence: Evidence, task: Task) -> list[Attempt]:
    """The attempts whose outcomes the task's counters tell of."""
    redriven = [c.attempt for c in evidence.changes_of.get(task.id, ()) if c.type == "task.redriven"]
    return [a for a in evidence.attempts_of.get(task.id, ()) if a.attempt > max(redriven, default=0)]


def _is_poison(task: Task) -> bool:
    return task.status == "failed" and isinstance(task.error, dict) and task.error.get("type") == "poison"


def tries_are_bounded_and_counted(evidence: Evidence) -> list[str]:
    """Failures and timeouts are charged, releases and losses are not, and no more than max_retries + 1 are charged."""
    broken = []
    for task in evidence.tasks.values():
        attempts = _since_redrive(evidence, task)
        charged = sum(attempt.outcome in ("failed", "timed_out") for attempt in attempts)
        final_failure = task.status == "failed" and not _is_poison(task)
        if charged > task.max_retries + 1:
            broken.append(f"task {task.id} was tried {charged} times with max_retries {task.max_retries}")
        if task.retry_count != charged - final_failure:
            broken.append(f"task {task.id} counts {task.retry_count} retries, and {charged} attempts were charged")
        if final_failure:
            broken += _failed_rightly(task, attempts, charged)
    return broken


def _failed_rightly(task: Task, attempts: list[Attempt], charged: int) -> list[str]:
    if not attempts or attempts[-1].outcome not in ("failed", "timed_out"):
        return [f"task {task.id} failed, and its last attempt did not"]
    error = task.error if isinstance(task.error, dict) else {}
    if error.get("retryable", True) and charged != task.max_retries + 1:
        return [f"task {task.id} failed for good after {charged} charged tries with max_retries {task.max_retries}"]
    return []


def losses_are_bounded_and_counted(evidence: Evidence) -> list[str]:
    """A lost attempt is charged unless an outage may be to blame; three charged losses are poison, not fewer."""
    broken = []
    for task in evidence.tasks.values():
        lost = [a for a in _since_redrive(evidence, task) if a.outcome == "lost"]
        certain = [a for a in lost if not _near_outage(evidence, a)]
        if not min(len(certain), MAX_LOSSES) <= task.lost_count <= min(len(lost), MAX_LOSSES):
            broken.append(
                f"task {task.id} counts {task.lost_count} losses of {len(lost)}, {len(certain)} of them certain"
            )
        if _is_poison(task) != (task.lost_count >= MAX_LOSSES):
            broken.append(f"task {task.id} is {task.status} after {task.lost_count} losses")
    return broken


def _near_outage(evidence: Evidence, attempt: Attempt) -> bool:
    """Whether it ended so soon after an outage that the loss may go uncharged."""
    assert attempt.ended_at is not None
    reach = SETTLED_AFTER_SECONDS + LEASE_SECONDS + evidence.slack + 1
    return any(w.begin_wall - 1 <= attempt.ended_at <= w.end_wall + reach for w in evidence.outages)


def an_outage_is_not_charged(evidence: Evidence) -> list[str]:
    """What is lost right after the database was away, or the only orchestrator was, is charged to no task."""
    if evidence.replicas > 1:
        return []
    blameless = [w for w in evidence.outages if w.name in ("postgres-stop", "database-black-hole")]
    broken = []
    for task in evidence.tasks.values():
        lost = [a for a in _since_redrive(evidence, task) if a.outcome == "lost"]
        free = [a for a in lost if any(_right_after(a, window) for window in blameless)]
        if task.lost_count > len(lost) - len(free):
            broken.append(
                f"task {task.id} is charged {task.lost_count} of {len(lost)} losses, {len(free)} by an outage"
            )
    return broken


def _right_after(attempt: Attempt, outage: Window) -> bool:
    assert attempt.ended_at is not None
    return outage.begin_wall + 3 < attempt.ended_at < outage.end_wall + SETTLED_AFTER_SECONDS + LEASE_SECONDS - 2


def higher_priority_goes_first(evidence: Evidence) -> list[str]:
    """No task is claimed while one of a higher priority has long been ready in the same lane and stays so.

    Where a task was lost once other rules hold, and during an outage there may be locks of a session that is gone.
    """
    broken = []
    waits = _waits(evidence)
    for lane, waiting in waits.items():
        for first, since, until, _ in waiting:
            for second, came, claimed, _ in waiting:
                if (
                    first.priority > second.priority
                    and since + ORDER_SECONDS < claimed < until - ORDER_SECONDS
                    and came < claimed
                    and not any(w.begin_wall - 1 < claimed < w.end_wall + 10 for w in evidence.outages)
                ):
                    broken.append(
                        f"lane {lane}: task {second.id} (priority {second.priority}) was claimed while task {first.id} "
                        f"(priority {first.priority}) was waiting for {claimed - since:.1f} s"
                    )
    return broken[:20]


def _waits(evidence: Evidence) -> dict[str, list[tuple[Task, float, float, int]]]:
    """By lane: each task, since when it could be claimed, when it was, and as which attempt."""
    waits: dict[str, list[tuple[Task, float, float, int]]] = defaultdict(list)
    for task in evidence.tasks.values():
        since = None
        for change in evidence.changes_of.get(task.id, ()):
            if change.type == "task.lost":
                break
            if change.type in ("task.created", "task.released"):
                since = change.at
            elif change.type == "task.started":
                # A retry waits for a time that only the row knows, and the row knows the last one only.
                if since is not None:
                    due = max(since, task.run_at) if task.retry_count == 0 else since
                    if task.retry_count == 0:
                        waits[task.lane].append((task, due, change.at, change.attempt))
                since = None
    return waits
