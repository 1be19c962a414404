"""What can go wrong, as one tree: `WorkstationError` and its kinds, and `TaskFailed` for handlers."""

from collections.abc import Sequence
from datetime import timedelta

import msgspec


class ErrorDetail(msgspec.Struct, frozen=True):
    """One field the server objects to."""

    field: str = ""
    message: str = ""


class WorkstationError(Exception):
    """Anything the server refused or could not do; `status` is the HTTP status, `code` the server's word."""

    exit_code = 1

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str | None = None,
        details: Sequence[ErrorDetail] = (),
        retry_after: timedelta | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.code = code
        self.details = tuple(details)
        self.retry_after = retry_after


class Misconfigured(WorkstationError):
    """The environment or the arguments do not say which server, token or agent to use."""

    exit_code = 2


class Unreachable(WorkstationError):
    """No server answers at the given address."""

    exit_code = 7


class WaitTimedOut(WorkstationError, TimeoutError):
    """The awaited task was not final in time; it goes on all the same."""

    exit_code = 124


class Unauthenticated(WorkstationError):
    """The token is missing, wrong, expired or revoked (401)."""

    exit_code = 4


class NotAllowed(WorkstationError):
    """The token is good, but not for this (403)."""

    exit_code = 4


class NotFound(WorkstationError):
    """There is no such agent, task or token (404)."""

    exit_code = 5


class Conflict(WorkstationError):
    """The state does not allow it, or a name or idempotency key is taken (409)."""

    exit_code = 6


class ValidationFailed(WorkstationError):
    """The request does not fit; `details` names the fields (400, 413, 422)."""

    exit_code = 2


class RateLimited(WorkstationError):
    """Too many requests, or a full queue (429); `retry_after` says when to come again."""

    exit_code = 75


class Unavailable(WorkstationError):
    """The server cannot work at the moment (503); `retry_after` says when to come again."""

    exit_code = 75


class RuntimeFailed(WorkstationError):
    """The agent could not be started or stopped; the message is the runtime driver's reason (502)."""


class ProtocolMismatch(WorkstationError):
    """The other side does not speak this agent protocol."""

    exit_code = 76


class TaskFailed(Exception):
    """Raised by a handler to fail its attempt.

    `type` is a short name of the kind of failure, `retryable=False` sends the task straight to the dead
    letters, `retry_after` replaces the server's own backoff.
    """

    def __init__(
        self,
        message: str,
        *,
        type: str = "TaskFailed",
        retryable: bool = True,
        retry_after: timedelta | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.type = type
        self.retryable = retryable
        self.retry_after = retry_after
