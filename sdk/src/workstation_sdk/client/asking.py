"""One question: send, repeat where that is safe, read the answer or raise what it says."""

from datetime import timedelta
from typing import Any, TypeVar

import msgspec

from workstation_sdk.chance import full_jitter
from workstation_sdk.client.steps import Answer, Pause, Request, Talk
from workstation_sdk.errors import (
    Conflict,
    ErrorDetail,
    NotAllowed,
    NotFound,
    RateLimited,
    RuntimeFailed,
    Unauthenticated,
    Unavailable,
    Unreachable,
    ValidationFailed,
    WorkstationError,
)

Value = TypeVar("Value")

LONGEST_PAUSE = 30.0

_KINDS: dict[int, type[WorkstationError]] = {
    400: ValidationFailed,
    401: Unauthenticated,
    403: NotAllowed,
    404: NotFound,
    409: Conflict,
    413: ValidationFailed,
    422: ValidationFailed,
    429: RateLimited,
    502: RuntimeFailed,
    503: Unavailable,
}


class _Failure(msgspec.Struct):
    error: str = ""
    code: str | None = None
    details: list[ErrorDetail] | None = None


def ask(request: Request, answer_type: type[Value]) -> Talk[Value]:
    """Return the answer as the given type; raises a `WorkstationError` of the kind the answer asks for.

    429 is repeated always, 503 and silence where the request is repeatable, up to the request's `tries`. Where there
    are several servers, each is asked once in a try.
    """
    for step in range(request.tries):
        error, value = yield from _try(request, answer_type)
        if error is None:
            assert value is not None
            return value
        if step == request.tries - 1 or not _worth_repeating(request, error):
            raise error
        yield Pause(_pause(error, step))
    raise AssertionError("the last try returns or raises")


def _try(request: Request, answer_type: type[Value]) -> Talk[tuple[WorkstationError | None, Value | None]]:
    """Ask one server after the other, until one answers or all have failed."""
    asked = 0
    while True:
        answer = yield request
        assert answer is not None
        error = _error_of(answer)
        if error is None:
            return None, _read(answer, answer_type)
        asked += 1
        away = isinstance(error, Unavailable | Unreachable)
        if not (away and request.repeatable and asked <= answer.others):
            return error, None


def raise_for(answer: Answer) -> None:
    """Raise the `WorkstationError` an answer asks for, if any."""
    error = _error_of(answer)
    if error is not None:
        raise error


def _worth_repeating(request: Request, error: WorkstationError) -> bool:
    if isinstance(error, RateLimited):
        return error.code != "queue_full"
    return request.repeatable and isinstance(error, Unavailable | Unreachable)


def _pause(error: WorkstationError, step: int) -> float:
    jitter = full_jitter(step, base=0.1, cap=2.0)
    if error.retry_after is None:
        return jitter
    return min(error.retry_after.total_seconds(), LONGEST_PAUSE) + jitter


def _error_of(answer: Answer) -> WorkstationError | None:
    if answer.failure:
        return Unreachable(answer.failure)
    if 200 <= answer.status < 300:
        return None
    told = _failure_told(answer)
    kind = _KINDS.get(answer.status, WorkstationError)
    return kind(
        told.error or f"the server answered {answer.status} without saying why",
        status=answer.status,
        code=told.code,
        details=told.details or (),
        retry_after=_retry_after(answer),
    )


def _failure_told(answer: Answer) -> _Failure:
    try:
        return msgspec.json.decode(answer.body, type=_Failure)
    except msgspec.MsgspecError:
        return _Failure()


def _retry_after(answer: Answer) -> timedelta | None:
    seconds = answer.headers.get("retry-after", "")
    return timedelta(seconds=int(seconds)) if seconds.isdecimal() else None


def _read(answer: Answer, answer_type: Any) -> Any:
    try:
        return msgspec.json.decode(answer.body or b"{}", type=answer_type, strict=False)
    except msgspec.MsgspecError as error:
        raise WorkstationError(
            f"the server's answer cannot be read ({error}): is this a Workstation server?",
            status=answer.status,
        ) from error
