"""The proxy passes on, cuts, and swallows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from tests.chaos.proxy import Proxy, Streams


@asynccontextmanager
async def echo_behind_a_proxy() -> AsyncIterator[Proxy]:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1000):
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    async def reach() -> Streams:
        return await asyncio.open_connection("127.0.0.1", port)

    proxy = Proxy(reach)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.close()
        server.close()


async def say(streams: Streams, text: bytes) -> bytes:
    reader, writer = streams
    writer.write(text)
    async with asyncio.timeout(2):
        return await reader.read(1000)


async def test_it_passes_on() -> None:
    async with echo_behind_a_proxy() as proxy:
        streams = await asyncio.open_connection("127.0.0.1", proxy.port)
        assert await say(streams, b"hello") == b"hello"
        assert proxy.links == 1


async def test_a_cut_ends_what_is_open_and_new_connections_work() -> None:
    async with echo_behind_a_proxy() as proxy:
        streams = await asyncio.open_connection("127.0.0.1", proxy.port)
        await say(streams, b"hello")
        proxy.cut()
        with suppress(ConnectionError):
            assert await say(streams, b"again") == b""
        assert await say(await asyncio.open_connection("127.0.0.1", proxy.port), b"new") == b"new"


async def test_what_is_swallowed_arrives_after_healing() -> None:
    async with echo_behind_a_proxy() as proxy:
        streams = await asyncio.open_connection("127.0.0.1", proxy.port)
        await say(streams, b"hello")
        proxy.swallow()
        streams[1].write(b"later")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await streams[0].read(1000)
        proxy.heal()
        async with asyncio.timeout(2):
            assert await streams[0].read(1000) == b"later"
