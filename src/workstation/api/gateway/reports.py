"""From what an agent says of an attempt, in a frame or in a body, to a report that can be settled."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from msgspec import UNSET, Raw, UnsetType

from workstation.api.gateway.frames import RESULT_LIMIT, AttemptError, Held, ProgressItem
from workstation.domain.tasks import OutcomeKind, Progress, Report, TaskError
from workstation.services.queue import refused_result


def completed(task_id: int, attempt: int, instance_id: UUID, result: Raw, usage: Raw | UnsetType | None) -> Report:
    """A finished attempt. A result over the limit turns into the failure of this attempt alone, for good."""
    text = bytes(result)
    report = Report(
        task_id,
        attempt,
        instance_id,
        OutcomeKind.COMPLETED,
        text.decode(),
        _text(usage),
    )
    if len(text) > RESULT_LIMIT:
        return refused_result(report, too_large(len(text)))
    return report


def unreadable(held: Held, instance_id: UUID, reason: str) -> Report:
    """A finished attempt whose result is not what it should be: the failure of this attempt alone, for good."""
    return refused_result(Report(int(held.task), held.attempt, instance_id, OutcomeKind.COMPLETED), reason)


def too_large(size: int) -> str:
    """What is said of a result over the limit."""
    return f"The result has {size} bytes and {RESULT_LIMIT} are allowed: store it elsewhere and return where it is."


def failed(task_id: int, attempt: int, instance_id: UUID, error: AttemptError) -> Report:
    """A failed attempt; one that its agent stopped for its timeout has timed out, as if we had been first to see it."""
    kind = OutcomeKind.TIMED_OUT if error.type == "timed_out" else OutcomeKind.FAILED
    after = None if error.retry_after_ms is None else timedelta(milliseconds=error.retry_after_ms)
    return Report(
        task_id,
        attempt,
        instance_id,
        kind,
        error=TaskError(error.message, error.type or "Error", error.retryable, after),
    )


def released(task_id: int, attempt: int, instance_id: UUID) -> Report:
    """An attempt given back unharmed."""
    return Report(task_id, attempt, instance_id, OutcomeKind.RELEASED)


def progressed(item: ProgressItem, instance_id: UUID) -> Progress:
    """How far an attempt has come."""
    return Progress(
        int(item.task),
        item.attempt,
        instance_id,
        item.percent,
        item.message,
        _text(item.data),
    )


def _text(raw: Raw | UnsetType | None) -> str | None:
    """JSON text, or None where nothing, or null, was said."""
    text = b"null" if raw is None or raw is UNSET else bytes(raw)
    return None if text == b"null" else text.decode()
