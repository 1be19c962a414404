"""How refusals look on the wire: one table from code to status, one shape of body."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final, Literal

import msgspec

from workstation.domain.errors import FieldProblem, RateLimited, Refusal, Unavailable, ValidationFailed

STATUS_OF: Final[Mapping[str, int]] = {
    "validation_failed": 400,
    "unauthenticated": 401,
    "forbidden": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "conflict": 409,
    "lease_lost": 409,
    "too_large": 413,
    "payload_invalid": 422,
    "unknown_type": 422,
    "rate_limited": 429,
    "queue_full": 429,
    "internal": 500,
    "runtime_failed": 502,
    "unavailable": 503,
}

Headers = list[tuple[bytes, bytes]]


class MethodNotAllowed(Refusal):
    """The path exists and does not know this method; allowed tells which ones it knows."""

    code: ClassVar[str] = "method_not_allowed"

    def __init__(self, method: str, allowed: str) -> None:
        super().__init__(f"{method[:20]} is not possible here; use one of {allowed}.")
        self.allowed = allowed


class Internal(Refusal):
    """Something of ours broke; the log knows more under the request id."""

    code: ClassVar[str] = "internal"


class Problem(msgspec.Struct, frozen=True):
    """One wrong field of a request."""

    field: str
    message: str


class ErrorBody(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=False):
    """Every failure looks like this: one sentence, a code to go by, and the wrong fields if there are some."""

    success: Literal[False] = False
    error: str
    code: str
    details: list[Problem] | msgspec.UnsetType = msgspec.UNSET


_ENCODER: Final = msgspec.json.Encoder()


def status_of(refusal: Refusal) -> int:
    """The HTTP status of a refusal; a code without a row in the table is a bug of ours and shows as 500."""
    return STATUS_OF.get(refusal.code, 500)


def body_of(refusal: Refusal) -> bytes:
    """The JSON body of a refusal."""
    details = [Problem(_text(problem.field), _text(problem.message)) for problem in refusal.details]
    return _ENCODER.encode(ErrorBody(error=_text(refusal.message), code=refusal.code, details=details or msgspec.UNSET))


def _text(message: str) -> str:
    # What is quoted may hold half characters: a driver's reason, a decoded path.
    return message.encode("utf-8", "replace").decode("utf-8")


def headers_of(refusal: Refusal) -> Headers:
    """The headers a refusal brings along."""
    if isinstance(refusal, RateLimited | Unavailable):
        return [(b"retry-after", str(max(1, round(refusal.retry_after_seconds))).encode())]
    if isinstance(refusal, MethodNotAllowed):
        return [(b"allow", refusal.allowed.encode())]
    if refusal.code == "unauthenticated":
        return [(b"www-authenticate", b'Bearer realm="workstation"')]
    return []


def wrong(field: str, message: str) -> ValidationFailed:
    """A refusal about one field: its name on the wire, and what it must be."""
    return ValidationFailed(f"{field} {message}.", (FieldProblem(field, message),))
