"""Our HTTP protocol answers byte for byte like uvicorn's, in fewer writes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from workstation.server.http import HttpProtocol, OneWriteCycle

App = Callable[[Any, Any, Any], Awaitable[None]]
BODY = b'{"success":true}'


class Wire(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        if data:
            self.writes.append(bytes(data))

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def pause_reading(self) -> None:
        """Nothing is read here."""

    def resume_reading(self) -> None:
        """Nothing is read here."""


def request(method: str = "POST", path: str = "/api/agents/tasks", *lines: str, version: str = "1.1") -> bytes:
    head = [f"{method} {path} HTTP/{version}", "Host: localhost", *lines, "Content-Length: 2", "", "{}"]
    return "\r\n".join(head).encode()


def answering(*headers: tuple[bytes, bytes], body: bytes = BODY, length: int | None = None, status: int = 201) -> App:
    """An application that gives one whole answer and tells what it was asked in a header."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        asked = (await receive())["body"]
        seen = f"{scope['method']} {scope['path']} {scope['raw_path']} {scope['query_string']} {asked}".encode()
        known = (b"content-length", b"%d" % (len(body) if length is None else length))
        await send({"type": "http.response.start", "status": status, "headers": [(b"seen", seen), known, *headers]})
        await send({"type": "http.response.body", "body": body})

    return app


async def in_pieces(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"one", "more_body": True})
    await send({"type": "http.response.body", "body": b"two"})


async def in_pieces_of_known_length(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"6")]})
    await send({"type": "http.response.body", "body": b"one", "more_body": True})
    await send({"type": "http.response.body", "body": b"two"})


async def breaking_before_the_body(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 201, "headers": [(b"content-length", b"6")]})
    raise RuntimeError("broken")


async def breaking_at_once(scope: Any, receive: Any, send: Any) -> None:
    raise RuntimeError("broken")


async def talk(protocol: type[HttpToolsProtocol], app: App, given: bytes) -> tuple[Wire, HttpToolsProtocol]:
    config = uvicorn.Config(app, http=protocol, lifespan="off", log_config=None, access_log=False)
    config.load()
    state = ServerState()
    wire, served = Wire(), protocol(config=config, server_state=state, app_state={})
    served.connection_made(wire)
    served.data_received(given)
    while state.tasks:
        await asyncio.wait(list(state.tasks))
        await asyncio.sleep(0)
    served._unset_keepalive_if_required()
    return wire, served


SAME = {
    "a whole answer": (answering(), request()),
    "an empty answer": (answering(body=b"", status=204), request()),
    "a query": (answering(), request("GET", "/api/agents/tasks/1?wait=5")),
    "an escaped path": (answering(), request("GET", "/api/agents/%31/%C3%A9%FF?a=%20#part")),
    "an address with a host": (answering(), request("GET", "http://localhost/api/agents?x")),
    "an address that is none": (answering(), request("GET", "http://")),
    "any address": (answering(), request("OPTIONS", "*")),
    "HEAD": (answering(), request("HEAD")),
    "HTTP/1.0": (answering(), request(version="1.0")),
    "a client that closes": (answering(), request("POST", "/a", "Connection: close")),
    "an answer that closes": (answering((b"connection", b"close")), request()),
    "a client that waits to be told to go on": (answering(), request("POST", "/a", "Expect: 100-continue")),
    "two requests at once": (answering(), request() + request("GET", "/b")),
    "pieces": (in_pieces, request()),
    "pieces of a known length": (in_pieces_of_known_length, request()),
    "a header that would split the answer": (answering((b"x", b"a\r\nb: c")), request()),
    "a header with half a line end": (answering((b"x", b"a\rb")), request()),
    "too long a body": (answering(length=3), request()),
    "too short a body": (answering(length=300), request()),
    "an application that breaks at once": (breaking_at_once, request()),
    "what is no HTTP": (answering(), b"nonsense\r\n\r\n"),
}


@pytest.mark.parametrize("case", SAME)
async def test_answers_are_those_of_uvicorn(case: str) -> None:
    app, given = SAME[case]

    ours, _ = await talk(HttpProtocol, app, given)
    theirs, _ = await talk(HttpToolsProtocol, app, given)

    assert b"".join(ours.writes) == b"".join(theirs.writes)
    assert ours.closed == theirs.closed
    assert ours.writes or ours.closed


@pytest.mark.parametrize("path", ["/api/agents/tasks", "/api/agents/tasks/1?wait=5", "/a%20b"])
async def test_a_whole_answer_is_one_write(path: str) -> None:
    wire, _ = await talk(HttpProtocol, answering(), request("POST", path))

    assert len(wire.writes) == 1
    assert wire.writes[0].endswith(b"\r\n\r\n" + BODY)


async def test_an_answer_that_breaks_before_its_body_is_a_failure_not_half_an_answer() -> None:
    wire, _ = await talk(HttpProtocol, breaking_before_the_body, request())

    assert b"".join(wire.writes).startswith(b"HTTP/1.1 500 ")
    assert wire.closed


async def test_a_client_that_has_gone_is_written_nothing() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        served.connection_lost(None)
        await answering()(scope, receive, send)

    config = uvicorn.Config(app, http=HttpProtocol, lifespan="off", log_config=None, access_log=False)
    config.load()
    state = ServerState()
    wire, served = Wire(), HttpProtocol(config=config, server_state=state, app_state={})
    served.connection_made(wire)
    served.data_received(request())
    await asyncio.wait(list(state.tasks))

    assert isinstance(served.cycle, OneWriteCycle)
    assert wire.writes == []


async def test_a_full_connection_is_waited_for() -> None:
    config = uvicorn.Config(answering(), http=HttpProtocol, lifespan="off", log_config=None, access_log=False)
    config.load()
    state = ServerState()
    wire, served = Wire(), HttpProtocol(config=config, server_state=state, app_state={})
    served.connection_made(wire)
    served.pause_writing()
    served.data_received(request())
    await asyncio.sleep(0.01)
    assert wire.writes == []

    served.resume_writing()
    await asyncio.wait(list(state.tasks))
    served._unset_keepalive_if_required()

    assert BODY in wire.writes[-1]
