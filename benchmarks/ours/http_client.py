"""A lean keep-alive HTTP/1.1 client: so many connections, one request in flight on each, no pipelining."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import cast

import httptools


@dataclass
class Tally:
    """What came back: how many of each status, each request's seconds, and the first refused body."""

    statuses: dict[int, int] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    refusal: bytes = b""

    def add(self, status: int, seconds: float, body: bytes) -> None:
        """Counts one response."""
        self.statuses[status] = self.statuses.get(status, 0) + 1
        self.seconds.append(seconds)
        if status >= 300 and not self.refusal:
            self.refusal = body[:300]


class Connection(asyncio.Protocol):
    """Sends the next request as soon as the response to the last one is complete."""

    def __init__(self, requests: Iterator[bytes], tally: Tally) -> None:
        self._requests, self._tally = requests, tally
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._sent_at = 0.0
        self._body = bytearray()
        self.finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keeps the transport; nothing is sent before `start`."""
        # A cast, because uvloop's transports do not derive from asyncio's.
        self._transport = cast(asyncio.Transport, transport)

    def start(self) -> None:
        """Sends the first request."""
        self._send_next()

    def data_received(self, data: bytes) -> None:
        """Feeds the parser."""
        self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """A connection that ends before its work is an error."""
        if not self.finished.done():
            self.finished.set_exception(exc or ConnectionError("the server closed a connection with work left"))

    def on_body(self, body: bytes) -> None:
        """Parser callback: keeps the body."""
        self._body += body

    def on_message_complete(self) -> None:
        """Parser callback: counts the response and goes on."""
        self._tally.add(self._parser.get_status_code(), time.perf_counter() - self._sent_at, bytes(self._body))
        self._body.clear()
        self._send_next()

    def _send_next(self) -> None:
        assert self._transport is not None
        request = next(self._requests, None)
        if request is None:
            self.finished.set_result(None)
            self._transport.close()
            return
        self._sent_at = time.perf_counter()
        self._transport.write(request)


async def send_all(host: str, port: int, requests: list[bytes], connections: int) -> tuple[Tally, float]:
    """Sends all requests over so many connections; returns the tally and the seconds taken.

    Connections are open before the clock starts. Raises ConnectionError when the server closes one early.
    """
    loop, tally, waiting = asyncio.get_running_loop(), Tally(), iter(requests)
    opened = [
        (await loop.create_connection(lambda: Connection(waiting, tally), host, port))[1] for _ in range(connections)
    ]
    started = time.perf_counter()
    for connection in opened:
        connection.start()
    await asyncio.gather(*(connection.finished for connection in opened))
    return tally, time.perf_counter() - started
