"""The bytes of a request body, never more of them than allowed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, TypeAlias

from workstation.domain.errors import TooLarge, ValidationFailed

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]

_LINGER_BYTES: Final = 4 * 1024 * 1024
_LINGER_SECONDS: Final = 2.0


class ClientGone(Exception):
    """The client closed the connection; there is nobody to answer."""


class Oversized(TooLarge):
    """A body over the limit; unread tells whether more of it is on its way."""

    def __init__(self, limit: int, *, unread: bool) -> None:
        super().__init__(f"The body is over {limit} bytes; send less at once.")
        self.unread = unread


async def read(headers: dict[bytes, bytes], receive: Receive, limit: int) -> bytes:
    """The whole body. Raises Oversized as soon as it is known to be over limit bytes, and ClientGone."""
    declared = headers.get(b"content-length", b"")
    if declared.isdigit() and int(declared) > limit:
        raise Oversized(limit, unread=b"expect" not in headers)
    body = b""
    parts: list[bytes] = []
    size = 0
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        body = message.get("body", b"")
        more = message.get("more_body", False)
        size += len(body)
        if size > limit:
            raise Oversized(limit, unread=more)
        parts.append(body)
    return body if len(parts) == 1 else b"".join(parts)


def require_json(headers: dict[bytes, bytes]) -> None:
    """Raise ValidationFailed for a body that says it is something else than JSON in UTF-8."""
    content_type = headers.get(b"content-type", b"application/json")
    if content_type == b"application/json":
        return
    kind, _, parameters = content_type.lower().partition(b";")
    kind = kind.strip()
    if kind != b"application/json" and not (kind.startswith(b"application/") and kind.endswith(b"+json")):
        raise ValidationFailed("The body must be JSON; send Content-Type: application/json.")
    charset = parameters.replace(b" ", b"").replace(b'"', b"")
    if charset.startswith(b"charset=") and charset not in (b"charset=utf-8", b"charset=utf8"):
        raise ValidationFailed("The body must be JSON encoded in UTF-8.")


async def linger(receive: Receive) -> None:
    """Take in and drop a little more of an oversized body, so that its sender gets to read our answer."""
    try:
        async with asyncio.timeout(_LINGER_SECONDS):
            dropped = 0
            while dropped < _LINGER_BYTES:
                message = await receive()
                dropped += len(message.get("body", b""))
                if message["type"] == "http.disconnect" or not message.get("more_body", False):
                    return
    except TimeoutError:
        return
