"""Answers into ASGI messages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, TypeAlias, TypeVar

import msgspec

from workstation.api import body_bytes
from workstation.api.body_bytes import ClientGone, Message, Receive
from workstation.api.call import Reply, Stream
from workstation.api.errors import Headers
from workstation.domain.errors import Unavailable

T = TypeVar("T")
Send: TypeAlias = Callable[[Message], Awaitable[None]]

_ENCODER: Final = msgspec.json.Encoder()
_ALWAYS: Final[Headers] = [(b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff")]


async def send(reply: Reply, extra: Headers, send: Send) -> None:
    """Send a whole answer."""
    start, body = _messages(reply, extra)
    await send(start)
    await send({"type": "http.response.body", "body": body})


async def send_lingering(reply: Reply, extra: Headers, receive: Receive, send: Send) -> None:
    """Send an answer to somebody who is still sending, and close the connection a little later."""
    start, body = _messages(reply, [*extra, (b"connection", b"close")])
    await send(start)
    await send({"type": "http.response.body", "body": body, "more_body": True})
    await body_bytes.linger(receive)
    await send({"type": "http.response.body", "body": b""})


async def send_stream(stream: Stream, extra: Headers, receive: Receive, send: Send) -> None:
    """Send pieces as they come, until they end or the client goes."""
    headers = [(b"content-type", stream.media_type), *_ALWAYS, *stream.headers, *extra]
    await send({"type": "http.response.start", "status": stream.status, "headers": headers})
    sending = asyncio.ensure_future(_send_pieces(stream.pieces, send))
    try:
        await while_connected(sending, receive)
    except ClientGone:
        return


async def _send_pieces(pieces: AsyncIterator[bytes], send: Send) -> None:
    async for piece in pieces:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def _messages(reply: Reply, extra: Headers) -> tuple[Message, bytes]:
    body = reply.body if isinstance(reply.body, bytes) else _ENCODER.encode(reply.body)
    headers = [*_ALWAYS, *reply.headers, *extra]
    if reply.status != 204:
        headers.append((b"content-type", reply.media_type))
        headers.append((b"content-length", b"%d" % len(body)))
    return {"type": "http.response.start", "status": reply.status, "headers": headers}, body


async def while_connected(work: Awaitable[T], receive: Receive, going_down: asyncio.Event | None = None) -> T:
    """The outcome of work, unless it is cancelled first: raises ClientGone where the client goes away.

    Raises Unavailable where the server goes down.
    """
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_gone(receive))
    stopping = asyncio.ensure_future((going_down or asyncio.Event()).wait())
    try:
        await asyncio.wait({working, leaving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        if stopping.done():
            raise Unavailable("The server goes down; ask again in a moment.")
        raise ClientGone
    finally:
        leaving.cancel()
        stopping.cancel()
        if not working.done():
            working.cancel()
            await asyncio.wait({working})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def lifespan(receive: Receive, send: Send) -> None:
    """Answer the server's word that it starts and stops; what is opened and closed is the composer's business."""
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        elif message["type"] == "lifespan.shutdown":
            await send({"type": "lifespan.shutdown.complete"})
            return
