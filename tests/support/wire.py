"""A scripted agent at the gateway's door: frames in and out of the ASGI interface, without a network."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

from tests.support.spine import until

from workstation.api.gateway.door import AgentDoor


class Wire:
    """One WebSocket. say() sends a frame, hear() waits for one of a kind; closed is the code it was closed with."""

    def __init__(self, door: AgentDoor, path: str, token: str | None) -> None:
        headers = [] if token is None else [(b"authorization", f"Bearer {token}".encode())]
        self._scope = {"type": "websocket", "path": path, "headers": headers}
        self._door = door
        self._to_server: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.heard: list[dict[str, Any]] = []
        self.closed: int | None = None
        self.reason = ""
        self.instance = uuid4()
        self._serving: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Knock."""
        self._to_server.put_nowait({"type": "websocket.connect"})
        self._serving = asyncio.create_task(self._door(self._scope, self._to_server.get, self._send))

    async def _send(self, message: dict[str, Any]) -> None:
        if message["type"] == "websocket.send":
            self.heard.append(json.loads(message["text"]))
        elif message["type"] == "websocket.close":
            self.closed, self.reason = message["code"], message["reason"]

    def say(self, kind: str, **fields: Any) -> None:
        """Send one frame."""
        self.say_text(json.dumps({"kind": kind, **fields}))

    def say_text(self, text: str) -> None:
        """Send one text message."""
        self._to_server.put_nowait({"type": "websocket.receive", "text": text})

    def say_bytes(self, data: bytes) -> None:
        """Send one binary message."""
        self._to_server.put_nowait({"type": "websocket.receive", "bytes": data})

    async def hello(self, instance: UUID | None = None, **fields: Any) -> dict[str, Any]:
        """Say hello; the welcome."""
        self.instance = instance or self.instance
        self.say("hello", instance=str(self.instance), **fields)
        (welcome,) = await self.hear("welcome")
        return welcome

    def frames(self, kind: str) -> list[dict[str, Any]]:
        """What was heard of a kind."""
        return [frame for frame in self.heard if frame["kind"] == kind]

    def items(self, kind: str) -> list[dict[str, Any]]:
        """The items of all frames of a kind."""
        return [item for frame in self.frames(kind) for item in frame["items"]]

    async def hear(self, kind: str, n: int = 1) -> list[dict[str, Any]]:
        """Wait for so many frames of a kind."""
        await until(lambda: len(self.frames(kind)) >= n)
        return self.frames(kind)

    async def hear_items(self, kind: str, n: int = 1) -> list[dict[str, Any]]:
        """Wait for so many items in frames of a kind."""
        await until(lambda: len(self.items(kind)) >= n)
        return self.items(kind)

    async def end(self) -> int | None:
        """Wait until the server has closed; the code."""
        assert self._serving is not None
        await asyncio.wait_for(asyncio.shield(self._serving), 10)
        return self.closed

    async def hang_up(self) -> None:
        """The connection is gone."""
        self._to_server.put_nowait({"type": "websocket.disconnect", "code": 1006})
        await self.end()

    async def stop(self) -> None:
        """End whatever runs."""
        if self._serving is not None and not self._serving.done():
            self._serving.cancel()
            await asyncio.gather(self._serving, return_exceptions=True)


@asynccontextmanager
async def wire(door: AgentDoor, path: str, token: str | None) -> AsyncIterator[Wire]:
    """A connection that was opened and is gone at the end."""
    opened = Wire(door, path, token)
    opened.start()
    try:
        yield opened
    finally:
        await opened.stop()
