"""A small real server that speaks the agent protocol, for tests of agents."""

import asyncio
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Self, TypeVar

import msgspec
from msgspec import Raw
from websockets.asyncio.server import Server as SocketServer
from websockets.asyncio.server import ServerConnection, serve, unix_serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request as HttpRequest
from websockets.http11 import Response

from workstation_sdk.protocol import (
    FRAME_LIMIT,
    AgentFrame,
    Cancel,
    CancelItem,
    Claim,
    Done,
    Drain,
    Fail,
    Heartbeat,
    Hello,
    Release,
    ServerFrame,
    Settled,
    SettledItem,
    Tasks,
    Welcome,
    decode_agent,
    encode,
)

Frame = TypeVar("Frame", bound=AgentFrame)

_STATUS = {"done": "completed", "fail": "failed", "release": "pending"}
PATIENCE = 5.0


class Connection:
    """One connection of an agent, from its hello on; scripted by who tests."""

    def __init__(self, socket: ServerConnection, hello: Hello) -> None:
        self.hello = hello
        """The agent's first frame."""
        self.received: list[AgentFrame] = []
        """Every later frame, in order."""
        self.settled = 0
        """How many reports were answered."""
        self.path = socket.request.path if socket.request else ""
        """The path the agent connected to."""
        self._socket = socket
        self._changed = asyncio.Condition()

    async def send(self, frame: ServerFrame) -> None:
        """Send any frame."""
        await self._socket.send(encode(frame), text=True)

    async def send_text(self, text: str) -> None:
        """Send any text, for frames no server should send."""
        await self._socket.send(text)

    async def cancel(self, task: str, attempt: int = 1, reason: str = "cancelled") -> None:
        """Cancel an attempt."""
        await self.send(Cancel([CancelItem(task, attempt, reason)]))

    async def drain(self, reason: str = "stop") -> None:
        """Ask the agent to drain."""
        await self.send(Drain(reason))

    async def settle(self, kind: str, *tasks: str, attempt: int = 1, code: str | None = None) -> None:
        """Answer reports of a kind (done, fail or release): committed, or refused with a code."""
        status = None if code else _STATUS[kind]
        await self.send(Settled([SettledItem(task, attempt, kind, status, code, code) for task in tasks]))
        self.settled += len(tasks)

    async def close(self, code: int = 1012) -> None:
        """Close with a code."""
        await self._socket.close(code)

    def abort(self) -> None:
        """Cut the connection without a word."""
        self._socket.transport.abort()

    async def expect(self, kind: type[Frame], *, count: int = 1, within: float = PATIENCE) -> list[Frame]:
        """Return the frames of a kind received so far, once there are `count`, or raise `TimeoutError`."""
        async with asyncio.timeout(within), self._changed:
            await self._changed.wait_for(lambda: len(self.received_of(kind)) >= count)
        return self.received_of(kind)

    def received_of(self, kind: type[Frame]) -> list[Frame]:
        """Return the frames of a kind received so far."""
        return [frame for frame in self.received if isinstance(frame, kind)]

    async def expect_held(self, *tasks: str, within: float = PATIENCE) -> None:
        """Return once a heartbeat says that the agent holds these tasks, or raise `TimeoutError`."""
        wanted = set(tasks)

        def told() -> bool:
            beats = self.received_of(Heartbeat)
            return bool(beats) and wanted <= {held.task for held in beats[-1].holding}

        async with asyncio.timeout(within), self._changed:
            await self._changed.wait_for(told)

    async def closed(self, *, within: float = PATIENCE) -> int | None:
        """Return the close code once the connection is closed."""
        async with asyncio.timeout(within):
            await self._socket.wait_closed()
        return self._socket.close_code

    async def read(self) -> AgentFrame:
        """Take the next frame; raises `ConnectionClosed`."""
        frame = decode_agent(await self._socket.recv(decode=False))
        async with self._changed:
            self.received.append(frame)
            self._changed.notify_all()
        return frame


class FakeServer:
    """A server on a free local port, or on a unix socket; use it in an `async with`.

    It welcomes every agent and settles every report, unless told otherwise: `settling = False` keeps it
    silent, `refuse["42"] = "lease_lost"` refuses what is reported on task 42, `close_hello_with = 4409`
    closes instead of welcoming.
    """

    def __init__(
        self,
        *,
        slots: int = 10,
        heartbeat_ms: int = 50,
        agents: Mapping[str, str] | None = None,
        socket_path: str | None = None,
    ) -> None:
        self.slots = slots
        self.heartbeat_ms = heartbeat_ms
        self.agents = dict({"test-agent": "1"} if agents is None else agents)
        """Names and numbers that `GET /api/agents` tells."""
        self.token = "test-token"  # noqa: S105 - opens nothing but this server
        self.settling = True
        self.refuse: dict[str, str] = {}
        self.close_hello_with: int | None = None
        self.hellos = 0
        """How many agents spoke first, welcomed or not."""
        self.outcomes: dict[str, Any] = {}
        """The latest reported item of each task."""
        self._connections: list[Connection] = []
        self._changed = asyncio.Condition()
        self._numbers = itertools.count(1)
        self._server: SocketServer | None = None
        self._path = socket_path
        self.port = 0

    @property
    def url(self) -> str:
        """The address to give to `Agent.serve` or in WORKSTATION_URL."""
        return f"unix://{self._path}" if self._path else f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen, on the same port as before where there was one."""
        options: dict[str, Any] = {
            "process_request": self._answer,
            "compression": None,
            "max_size": FRAME_LIMIT,
            "close_timeout": 1,
        }
        if self._path:
            self._server = await unix_serve(self._serve, self._path, **options)
        else:
            self._server = await serve(self._serve, "127.0.0.1", self.port, **options)
            self.port = next(iter(self._server.sockets)).getsockname()[1]

    async def stop(self) -> None:
        """Close every connection with 1001 and listen no more."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def connection(self, number: int = 1, *, within: float = PATIENCE) -> Connection:
        """Return the nth connection that said hello, once there is one."""
        async with asyncio.timeout(within), self._changed:
            await self._changed.wait_for(lambda: len(self._connections) >= number)
        return self._connections[number - 1]

    async def submit(
        self,
        connection: Connection,
        type: str,
        payload: Mapping[str, object] | None = None,
        *,
        attempt: int = 1,
        timeout: float = 30.0,
        checkpoint: object = None,
    ) -> str:
        """Send one task with a fresh id and return the id."""
        task = str(next(self._numbers))
        claim = self.claim(task, type, payload, attempt=attempt, timeout=timeout, checkpoint=checkpoint)
        await connection.send(Tasks([claim]))
        return task

    def claim(
        self,
        task: str,
        type: str,
        payload: Mapping[str, object] | None = None,
        *,
        attempt: int = 1,
        timeout: float = 30.0,
        checkpoint: object = None,
    ) -> Claim:
        """Return a claim to send in a `Tasks` frame."""
        kept = msgspec.UNSET if checkpoint is None else Raw(encode(checkpoint))
        body = Raw(encode(dict(payload or {})))
        return Claim(task, type, attempt, body, timeout_ms=round(timeout * 1000), checkpoint=kept)

    async def outcome(self, task: str, *, within: float = PATIENCE) -> Any:
        """Return what was reported on a task (a done, fail or release item), once it was."""
        async with asyncio.timeout(within), self._changed:
            await self._changed.wait_for(lambda: task in self.outcomes)
        return self.outcomes[task]

    async def _serve(self, socket: ServerConnection) -> None:
        try:
            hello = decode_agent(await socket.recv(decode=False))
            self.hellos += 1
            if self.close_hello_with is not None or not isinstance(hello, Hello):
                await socket.close(self.close_hello_with or 4400)
                return
            await self._converse(socket, hello)
        except ConnectionClosed:
            return

    async def _converse(self, socket: ServerConnection, hello: Hello) -> None:
        slots = hello.slots or self.slots
        welcome = Welcome("1", slots, heartbeat_ms=self.heartbeat_ms, instance=hello.instance)
        await socket.send(encode(welcome), text=True)
        connection = Connection(socket, hello)
        async with self._changed:
            self._connections.append(connection)
            self._changed.notify_all()
        while True:
            match await connection.read():
                case Done(items=items):
                    await self._report(connection, "done", items)
                case Fail(items=failed):
                    await self._report(connection, "fail", failed)
                case Release(items=released):
                    await self._report(connection, "release", released)

    async def _report(self, connection: Connection, kind: str, items: Sequence[Any]) -> None:
        async with self._changed:
            self.outcomes.update({item.task: item for item in items})
            self._changed.notify_all()
        if self.settling:
            await connection.send(Settled([self._settled(kind, item) for item in items]))
            connection.settled += len(items)

    def _settled(self, kind: str, item: Any) -> SettledItem:
        if code := self.refuse.get(item.task):
            return SettledItem(item.task, item.attempt, kind, code=code, error="refused")
        return SettledItem(item.task, item.attempt, kind, status=_STATUS[kind])

    def _answer(self, connection: ServerConnection, request: HttpRequest) -> Response | None:
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            return connection.respond(401, "unauthenticated\n")
        if request.path != "/api/agents":
            return None
        agents = [{"id": number, "name": name} for name, number in self.agents.items()]
        body = msgspec.json.encode({"success": True, "data": {"agents": agents, "total": len(agents)}}).decode()
        return connection.respond(200, body)
