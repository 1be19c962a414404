"""How an attempt ended, as the one outcome that is reported."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta

from msgspec import UNSET, Raw, UnsetType

from workstation_sdk.attempt import Attempt, Ending
from workstation_sdk.errors import TaskFailed
from workstation_sdk.protocol import (
    VALUE_LIMIT,
    AttemptError,
    DoneItem,
    FailItem,
    Outcome,
    ReleaseItem,
    encode,
)
from workstation_sdk.schema import PayloadInvalid
from workstation_sdk.text import sendable

TYPE_LIMIT = 200
LONGEST_DELAY = timedelta(days=30)
_NULL = Raw(b"null")


def completed(attempt: Attempt, result: object, usage: Mapping[str, object] | None) -> Outcome:
    """Return the outcome of a handler that returned; an unusable result fails this attempt alone."""
    if attempt.ending is Ending.CANCELLED:
        return released(attempt)
    task, number = attempt.key
    if result is None and usage is None:
        return DoneItem(task, number, _NULL)
    try:
        encoded = encode(result)
        spent: Raw | UnsetType = UNSET if usage is None else Raw(encode(usage))
    except (TypeError, ValueError, RecursionError) as error:
        return _final_failure(attempt, "result_not_json", f"the result cannot be written as JSON: {error}")
    if len(encoded) > VALUE_LIMIT:
        told = f"the result takes {len(encoded)} bytes, at most {VALUE_LIMIT} fit: return where it is stored"
        return _final_failure(attempt, "result_too_large", told)
    return DoneItem(task, number, Raw(encoded), spent)


def raised(attempt: Attempt, error: BaseException) -> Outcome:
    """Return the outcome of a handler that raised."""
    if attempt.ending is Ending.CANCELLED:
        return released(attempt)
    if isinstance(error, asyncio.CancelledError) and attempt.ending is not None:
        return stopped(attempt)
    return FailItem(*attempt.key, _described(error))


def stopped(attempt: Attempt) -> Outcome:
    """Return the outcome of a handler that was stopped from outside."""
    if attempt.ending is Ending.TIMED_OUT:
        told = f"the handler was still working after its timeout of {attempt.claim.timeout_ms} ms"
        return FailItem(*attempt.key, AttemptError(told, type="timed_out"))
    return released(attempt)


def released(attempt: Attempt) -> Outcome:
    """Return the outcome of an attempt given back; for one the server took back it returns the slot."""
    return ReleaseItem(*attempt.key)


def _final_failure(attempt: Attempt, type: str, message: str) -> Outcome:
    return FailItem(*attempt.key, AttemptError(sendable(message), type=type, retryable=False))


def _described(error: BaseException) -> AttemptError:
    message = sendable(str(error)) or type(error).__name__
    if isinstance(error, TaskFailed):
        after: int | UnsetType = UNSET
        if error.retry_after is not None:
            after = max(timedelta(0), min(error.retry_after, LONGEST_DELAY)) // timedelta(milliseconds=1)
        return AttemptError(message, sendable(error.type, TYPE_LIMIT), error.retryable, after)
    if isinstance(error, PayloadInvalid):
        return AttemptError(message, "payload_invalid", retryable=False)
    return AttemptError(message, sendable(type(error).__name__, TYPE_LIMIT))
