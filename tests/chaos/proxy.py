"""A TCP proxy that can cut its connections and swallow what they carry, and a view of replicas as a balancer has it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import httpx

CHUNK = 64 * 1024
PROBE_SECONDS = 0.5

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Proxy:
    """Listens on 127.0.0.1 and passes everything on to wherever `reach` connects to."""

    def __init__(self, reach: Callable[[], Awaitable[Streams]]) -> None:
        self._reach = reach
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._links: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self.port = 0

    @property
    def links(self) -> int:
        """How many connections are open."""
        return len(self._links)

    async def start(self) -> None:
        """Listen on a free port."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def cut(self) -> None:
        """Reset every connection."""
        for writer in list(self._writers):
            writer.transport.abort()

    def swallow(self) -> None:
        """From now on nothing arrives, not even the end of a connection; new connections get no answer."""
        self._flowing.clear()

    def heal(self) -> None:
        """What was held back arrives."""
        self._flowing.set()

    async def close(self) -> None:
        """Stop listening and reset everything."""
        assert self._server is not None
        self._server.close()
        self._flowing.set()
        for link in list(self._links):
            link.cancel()
        await asyncio.gather(*self._links, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = asyncio.current_task()
        assert link is not None
        self._links.add(link)
        self._writers.add(writer)
        try:
            await self._flowing.wait()
            far_reader, far_writer = await self._reach()
            self._writers.add(far_writer)
            try:
                async with asyncio.TaskGroup() as both:
                    both.create_task(self._pump(reader, far_writer))
                    both.create_task(self._pump(far_reader, writer))
            finally:
                self._writers.discard(far_writer)
                far_writer.transport.abort()
        except* (OSError, TimeoutError, asyncio.CancelledError):
            pass  # Cut off: what was under way is lost, as on a real network.
        finally:
            self._writers.discard(writer)
            self._links.discard(link)
            writer.transport.abort()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(CHUNK):
            await self._flowing.wait()
            sink.write(data)
            await sink.drain()
        await self._flowing.wait()
        raise ConnectionResetError("one side has closed")


class Balancer:
    """Knows which replicas are ready, by asking them, and connects to these in turn."""

    def __init__(self, ports: list[int]) -> None:
        self._ports = ports
        self._ready = set(ports)
        self._turn = 0

    async def watch(self) -> None:
        """Ask every replica whether it is ready, again and again."""
        async with httpx.AsyncClient(timeout=1.0) as client:
            while True:
                await asyncio.gather(*(self._probe(client, port) for port in self._ports))
                await asyncio.sleep(PROBE_SECONDS)

    async def _probe(self, client: httpx.AsyncClient, port: int) -> None:
        try:
            ready = (await client.get(f"http://127.0.0.1:{port}/ready")).status_code == 200
        except httpx.TransportError:
            ready = False
        (self._ready.add if ready else self._ready.discard)(port)

    async def reach(self) -> Streams:
        """A connection to a replica that is ready; to any where none is."""
        self._turn += 1
        candidates = [port for port in self._ports if port in self._ready] or self._ports
        return await asyncio.open_connection("127.0.0.1", candidates[self._turn % len(candidates)])
