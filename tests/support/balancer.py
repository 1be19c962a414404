"""A load balancer: one address, connections passed on to a server that says it is ready."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import count
from urllib.parse import urlsplit

import httpx

LOOK_SECONDS = 0.3


class Balancer:
    """Knows which servers are ready from asking them a few times a second, and believes nothing else."""

    def __init__(self, urls: Sequence[str]) -> None:
        self._urls = urls
        self._ready: list[str] = []
        self._turn = count()
        self._passing: set[asyncio.Task[None]] = set()

    async def look(self) -> None:
        """Ask every server, for ever."""
        async with httpx.AsyncClient(timeout=1) as client:
            while True:
                self._ready = [url for url in self._urls if await _is_ready(client, url)]
                await asyncio.sleep(LOOK_SECONDS)

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass one connection on, both ways, until one side closes."""
        if not self._ready:
            writer.close()
            return
        parts = urlsplit(self._ready[next(self._turn) % len(self._ready)])
        try:
            there_in, there_out = await asyncio.open_connection(parts.hostname, parts.port)
        except OSError:
            writer.close()
            return
        both = [asyncio.ensure_future(_pass(reader, there_out)), asyncio.ensure_future(_pass(there_in, writer))]
        self._passing.update(both)
        try:
            await asyncio.wait(both)
        finally:
            self._passing.difference_update(both)

    def cut(self) -> None:
        """End every connection."""
        for task in self._passing:
            task.cancel()


async def _is_ready(client: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await client.get(f"{url}/ready")).status_code == 200
    except httpx.TransportError:
        return False


async def _pass(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
    sink.close()


@asynccontextmanager
async def balanced(urls: Sequence[str]) -> AsyncIterator[str]:
    """The one address in front of these."""
    balancer = Balancer(urls)
    looking = asyncio.create_task(balancer.look())
    server = await asyncio.start_server(balancer.accept, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        balancer.cut()
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
