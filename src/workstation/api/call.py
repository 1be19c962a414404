"""One request on its way through, and what it is answered with."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from workstation.api.errors import Headers
from workstation.domain.principal import Principal

if TYPE_CHECKING:
    from workstation.api.dependencies import Dependencies


class Call:
    """What a handler is given.

    principal is set where the rule asks for a token, body and query where the route has them. document is the body as
    plain Python values.
    """

    __slots__ = (
        "body",
        "document",
        "headers",
        "params",
        "peer",
        "principal",
        "query",
        "request_id",
        "routes",
        "using",
    )

    principal: Principal

    def __init__(self, using: Dependencies, request_id: str, headers: dict[bytes, bytes], peer: str) -> None:
        self.using = using
        self.request_id = request_id
        self.headers = headers
        self.peer = peer
        self.params: tuple[str, ...] = ()
        self.body: Any = None
        self.document: Any = None
        self.query: Any = None


@dataclass(slots=True)
class Reply:
    """An answer: a struct (or bytes, as they are) under a status, with headers on top of the usual ones."""

    body: msgspec.Struct | bytes
    status: int = 200
    headers: Headers = field(default_factory=list)
    media_type: bytes = b"application/json"


@dataclass(slots=True)
class Stream:
    """An answer that comes in pieces, until the iterator ends or the client goes."""

    pieces: AsyncIterator[bytes]
    status: int = 200
    headers: Headers = field(default_factory=list)
    media_type: bytes = b"text/plain; charset=utf-8"
