"""What only shows behind a real HTTP server: bodies that are too large, clients that go away, streams."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tests.support.api import Api, listening

MIB = 1024 * 1024


@asynccontextmanager
async def connection(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A plain TCP connection to the server."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()


def head(method: str, path: str, token: str, *more: str) -> bytes:
    """The head of a request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: test", f"Authorization: Bearer {token}", *more, "", ""]
    return "\r\n".join(lines).encode()


async def answer_of(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of the next answer."""
    text = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)).decode()
    status, *lines = text.strip().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    body = await asyncio.wait_for(reader.readexactly(int(headers.get("content-length", 0))), 5)
    return int(status.split()[1]), headers, body


@pytest.fixture
async def port(api: Api) -> AsyncIterator[int]:
    """The port of the API."""
    async with listening(api) as port:
        yield port


async def test_a_body_that_is_announced_as_too_large_is_refused_before_it_comes(api: Api, port: int) -> None:
    token = await api.token("user")
    async with connection(port) as (reader, writer):
        writer.write(
            head("POST", "/api/agents/tasks", token, "Content-Type: application/json", f"Content-Length: {9 * MIB}")
        )
        status, headers, body = await answer_of(reader)
        assert status == 413 and json.loads(body)["code"] == "too_large"
        assert headers["connection"] == "close"


async def test_a_client_that_asks_first_is_not_told_to_go_on(api: Api, port: int) -> None:
    token = await api.token("user")
    ask = ("Content-Type: application/json", f"Content-Length: {9 * MIB}", "Expect: 100-continue")
    async with connection(port) as (reader, writer):
        writer.write(head("POST", "/api/agents/tasks", token, *ask))
        status, _, _ = await answer_of(reader)
        assert status == 413


async def test_a_body_without_a_length_is_refused_once_it_is_too_large(api: Api, port: int) -> None:
    token = await api.token("user")
    async with connection(port) as (reader, writer):
        writer.write(
            head("POST", "/api/agents/tasks", token, "Content-Type: application/json", "Transfer-Encoding: chunked")
        )
        chunk = b"%x\r\n" % 65536 + b" " * 65536 + b"\r\n"
        for _ in range(20):
            writer.write(chunk)
            await writer.drain()
        status, _, body = await answer_of(reader)
        assert status == 413 and json.loads(body)["code"] == "too_large"


async def test_a_client_that_sends_too_much_still_reads_the_answer(api: Api, port: int) -> None:
    token = await api.token("user")
    body = b"x" * (3 * MIB)
    async with connection(port) as (reader, writer):
        length = f"Content-Length: {len(body)}"
        writer.write(head("POST", "/api/agents/tasks", token, "Content-Type: application/json", length) + body)
        await writer.drain()
        status, _, _ = await answer_of(reader)
        assert status == 413


async def test_an_http_claim_of_a_client_that_has_gone_takes_nothing(api: Api, port: int) -> None:
    agent = await api.agent()
    token = await api.token("agent", agent)
    body = b'{"slots": 1, "wait_ms": 30000}'
    async with connection(port) as (_, writer):
        lines = ("Content-Type: application/json", f"Content-Length: {len(body)}")
        writer.write(head("POST", f"/api/agents/{agent}/claim", token, *lines) + body)
        await writer.drain()
        await asyncio.sleep(0.5)
    await asyncio.sleep(0.2)
    user = await api.client("user")
    task = {"agentId": str(agent), "type": "t", "payload": {}}
    number = (await user.post("/api/agents/tasks", json=task)).json()["taskId"]
    await asyncio.sleep(0.5)
    assert (await user.get(f"/api/agents/tasks/{number}")).json()["data"]["status"] == "pending"


async def test_logs_are_followed_line_by_line_until_the_client_goes(api: Api, port: int) -> None:
    agent = await api.agent()
    api.logs.lines[agent] = ["one"]
    token = await api.token("viewer")
    async with connection(port) as (reader, writer):
        writer.write(head("GET", f"/api/agents/{agent}/logs?follow=1", token))
        header = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)).decode().lower()
        assert "200 ok" in header and "text/plain" in header
        assert b"one\n" in await asyncio.wait_for(reader.readuntil(b"one\n"), 5)
        api.logs.lines[agent].append("two")
        assert b"two\n" in await asyncio.wait_for(reader.readuntil(b"two\n"), 5)
    while api.logs.following:
        await asyncio.sleep(0.01)


async def test_a_malformed_request_does_not_disturb_the_next(api: Api, port: int) -> None:
    for garbage in (b"\x00\xff\x16\x03\r\n\r\n", b"GET\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n"):
        async with connection(port) as (reader, writer):
            writer.write(garbage)
            answer = await asyncio.wait_for(reader.read(100), 5)
            assert b" 400 " in answer or answer == b""
    async with connection(port) as (reader, writer):
        writer.write(head("GET", "/health", ""))
        assert (await answer_of(reader))[0] == 200
