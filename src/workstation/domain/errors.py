"""Refusals: what a caller is told when something cannot be done, one class for each code on the wire."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """One wrong field: its name on the wire and one sentence about it."""

    field: str
    message: str


class Refusal(Exception):
    """Something was asked that cannot be done; the message is one sentence for whoever asked."""

    code: ClassVar[str] = "refused"

    def __init__(self, message: str, details: tuple[FieldProblem, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.details = details


class ValidationFailed(Refusal):
    """A field is missing, of the wrong type or out of range."""

    code = "validation_failed"


class Unauthenticated(Refusal):
    """No token, or one that is malformed, expired, revoked or not ours."""

    code = "unauthenticated"


class Forbidden(Refusal):
    """The token is good; its role or its owner may not do this."""

    code = "forbidden"


class NotFound(Refusal):
    """There is no such thing, or the caller may not know of it."""

    code = "not_found"


class Conflict(Refusal):
    """The move is not allowed from the present state."""

    code = "conflict"


class LeaseLost(Refusal):
    """The attempt, or the whole instance, does not hold the lease any more."""

    code = "lease_lost"


class PayloadInvalid(Refusal):
    """The payload does not fit the JSON Schema of its task type."""

    code = "payload_invalid"


class UnknownType(Refusal):
    """The addressed agent has declared its task types, and this is none of them."""

    code = "unknown_type"


class TooLarge(Refusal):
    """A body, payload, result or frame is over its limit."""

    code = "too_large"


class RateLimited(Refusal):
    """Too many requests; retry_after_seconds tells when there is room again."""

    code = "rate_limited"

    def __init__(self, message: str, retry_after_seconds: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class QueueFull(RateLimited):
    """The agent has as many pending tasks as it may have."""

    code = "queue_full"


class Unavailable(Refusal):
    """The database is away or the server is going down; the same request may work soon."""

    code = "unavailable"

    def __init__(self, message: str, retry_after_seconds: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class RuntimeFailed(Refusal):
    """A runtime driver could not do what was asked; the message is the driver's reason."""

    code = "runtime_failed"
