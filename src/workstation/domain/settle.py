"""What becomes of a task when one of its attempts ends: pure decisions, driven by tables of cases in the tests."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from workstation.domain.tasks import OutcomeKind, Report, TaskError, TaskStatus

BACKOFF_BASE = timedelta(seconds=1)
BACKOFF_CAP = timedelta(minutes=5)
MAX_LOSSES = 3
FREE_RELEASES = 10


@dataclass(frozen=True, slots=True)
class Held:
    """What the database says of the task whose attempt ends, read under its lock."""

    retry_count: int
    max_retries: int
    lost_count: int
    release_count: int
    agent_id: int = 0


@dataclass(frozen=True, slots=True)
class Settlement:
    """What is written: the next status, when it may be claimed again, the counters, and the error if there is one."""

    status: TaskStatus
    delay: timedelta
    retry_count: int
    lost_count: int
    release_count: int
    dead_letter: bool = False
    error: TaskError | None = None


def backoff(retry: int, jitter: float) -> timedelta:
    """Full jitter over min(1 s × 2^retry, 5 min). jitter is uniform in [0, 1)."""
    ceiling = BACKOFF_CAP if retry > 16 else min(BACKOFF_BASE * 2**retry, BACKOFF_CAP)
    return ceiling * jitter


def settle(held: Held, report: Report, jitter: float) -> Settlement:
    """Decide what the end of one attempt means for its task."""
    match report.kind:
        case OutcomeKind.COMPLETED:
            return _ended(held, TaskStatus.COMPLETED)
        case OutcomeKind.CANCELLED:
            return _ended(held, TaskStatus.CANCELLED)
        case OutcomeKind.RELEASED:
            return _released(held, jitter)
        case OutcomeKind.LOST:
            return _lost(held, report)
        case OutcomeKind.FAILED | OutcomeKind.TIMED_OUT:
            return _failed(held, report.error or TaskError("The agent gave no reason."), jitter)


def _ended(held: Held, status: TaskStatus) -> Settlement:
    return Settlement(status, timedelta(), held.retry_count, held.lost_count, held.release_count)


def _released(held: Held, jitter: float) -> Settlement:
    releases = held.release_count + 1
    delay = backoff(releases - FREE_RELEASES, jitter) if releases > FREE_RELEASES else timedelta()
    return Settlement(TaskStatus.PENDING, delay, held.retry_count, held.lost_count, releases)


def _lost(held: Held, report: Report) -> Settlement:
    losses = held.lost_count + (1 if report.charged else 0)
    if losses < MAX_LOSSES:
        return Settlement(TaskStatus.PENDING, timedelta(), held.retry_count, losses, held.release_count)
    poison = TaskError(
        f"The agent vanished {losses} times while working on this task, so it is not tried again by itself.",
        type="poison",
        retryable=False,
    )
    return Settlement(TaskStatus.FAILED, timedelta(), held.retry_count, losses, held.release_count, True, poison)


def _failed(held: Held, error: TaskError, jitter: float) -> Settlement:
    if error.retryable and held.retry_count < held.max_retries:
        delay = error.retry_after if error.retry_after is not None else backoff(held.retry_count, jitter)
        return Settlement(
            TaskStatus.PENDING, delay, held.retry_count + 1, held.lost_count, held.release_count, error=error
        )
    return Settlement(
        TaskStatus.FAILED, timedelta(), held.retry_count, held.lost_count, held.release_count, True, error
    )
