"""A WebSocket without a network: the SDK's end on one side, the ASGI end of the gateway on the other."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec
from websockets.exceptions import ConnectionClosedError

_DUPLICATED = ('"done"', '"fail"', '"release"')


class _Way:
    """Messages one way, in order, each after a while."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._arrived: deque[Any] = deque()
        self._news = asyncio.Event()
        self._last = 0.0
        self.frozen_until = 0.0

    def put(self, message: Any) -> None:
        """Send."""
        loop = asyncio.get_running_loop()
        self._last = max(self._last + 1e-6, self.frozen_until, loop.time() + self._chance.uniform(0, 0.003))
        loop.call_at(self._last, self._arrive, message)

    def _arrive(self, message: Any) -> None:
        self._arrived.append(message)
        self._news.set()

    async def get(self, closed: Callable[[], bool]) -> Any:
        """The next message, or None once it is closed."""
        while True:
            if closed():
                return None
            loop = asyncio.get_running_loop()
            if self._arrived and loop.time() >= self.frozen_until:
                return self._arrived.popleft()
            self._news.clear()
            if self._arrived:
                loop.call_at(self.frozen_until, self._news.set)
            await self._news.wait()

    def wake(self) -> None:
        """Look again."""
        self._news.set()


class Pipe:
    """One connection. As the SDK's socket it has send, recv and close; serve() runs the gateway's door on it."""

    def __init__(self, chance: random.Random, watch: Callable[[str, Any], None], duplicate: float) -> None:
        self._up, self._down = _Way(chance), _Way(chance)
        self._chance = chance
        self._watch = watch
        self._duplicate = duplicate
        self.cut_off = False
        self.left = False
        self.close_code: int | None = None
        self.close_reason: str | None = None
        self._up.put({"type": "websocket.connect"})

    @property
    def over(self) -> bool:
        """Whether nothing can be sent any more."""
        return self.cut_off or self.left or self.close_code is not None

    def freeze(self, seconds: float) -> None:
        """Nothing arrives at either end for so long."""
        until = asyncio.get_running_loop().time() + seconds
        self._up.frozen_until = self._down.frozen_until = until

    def cut(self) -> None:
        """The connection is lost, with what is on its way."""
        self.cut_off = True
        self._up.wake()
        self._down.wake()

    # -- the SDK's end

    async def send(self, message: bytes, text: bool = False) -> None:
        """Send a frame."""
        if self.over:
            raise ConnectionClosedError(None, None)
        decoded = message.decode()
        self._up.put({"type": "websocket.receive", "text": decoded})
        if any(kind in decoded[:40] for kind in _DUPLICATED) and self._chance.random() < self._duplicate:
            self._up.put({"type": "websocket.receive", "text": decoded})

    async def recv(self, decode: bool = True) -> bytes:
        """The next frame."""
        message = await self._down.get(lambda: self.cut_off or self.left)
        if message is None:
            raise ConnectionClosedError(None, None)
        if isinstance(message, tuple):
            self.close_code, self.close_reason = message
            raise ConnectionClosedError(None, None)
        return bytes(message)

    async def close(self) -> None:
        """Leave; what was sent before arrives."""
        if not self.over:
            self._up.put({"type": "websocket.disconnect"})
        self.left = True
        self._down.wake()

    # -- the gateway's end

    async def serve(self, door: Any, agent_id: str) -> None:
        """Run the door until it closes this connection."""
        scope = {"type": "websocket", "path": f"/api/agents/{agent_id}/connect", "headers": []}
        try:
            await door(scope, self._receive, self._send)
        finally:
            if not self.over:
                self._down.put((1006, ""))

    async def _receive(self) -> Any:
        message = await self._up.get(lambda: self.cut_off)
        return message if message is not None else {"type": "websocket.disconnect"}

    async def _send(self, message: Any) -> None:
        if message["type"] == "websocket.close":
            self._down.put((message["code"], message.get("reason", "")))
        elif message["type"] == "websocket.send":
            self._watch(message["text"], self)
            if not self.cut_off:
                self._down.put(message["text"].encode())


def read(text: str) -> Any:
    """A frame as plain values."""
    return msgspec.json.decode(text)
