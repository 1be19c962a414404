"""The ASGI side of the agent's socket: who is it, may it come in, and how it is closed."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias
from uuid import UUID

import msgspec
import structlog

from workstation.api.errors import body_of, headers_of, status_of
from workstation.api.gateway import frames
from workstation.api.gateway.outbox import Outbox
from workstation.api.gateway.socket import GOING_AWAY, AgentSocket
from workstation.dispatch.dispatcher import Dispatcher
from workstation.domain.errors import Conflict, LeaseLost, NotFound, Refusal, Unauthenticated, Unavailable
from workstation.domain.principal import Principal, Role
from workstation.services.instances import HEARTBEAT, LEASE, Hello

_PATH = re.compile(r"^/api/agents/([0-9]{1,18})/connect/?$")
_HELLO_SECONDS = 10.0
_log = structlog.get_logger(__name__)
_CLOSE_CODES: dict[type[Refusal], int] = {
    Unauthenticated: 4401,
    NotFound: 4404,
    Conflict: 4409,
    LeaseLost: 4409,
    Unavailable: GOING_AWAY,
}


Authenticate: TypeAlias = Callable[[bytes | None], Awaitable[Principal]]


class AgentDoor:
    """ASGI callable for WebSockets at /api/agents/:id/connect."""

    def __init__(self, dispatcher: Dispatcher, default_slots: int) -> None:
        self._dispatcher = dispatcher
        self._authenticate: Authenticate = _nobody_yet
        self._default_slots = default_slots
        self._tokens: dict[str, set[Outbox]] = {}
        self._open: set[Outbox] = set()
        self._lets_back_in = False

    def authenticated_by(self, authenticate: Authenticate) -> None:
        """Ask this who is at the door."""
        self._authenticate = authenticate

    def close_revoked(self, token_ids: frozenset[str]) -> None:
        """Close the sockets of tokens that were revoked."""
        for token_id in token_ids & self._tokens.keys():
            for outbox in self._tokens[token_id]:
                outbox.close(4401, "The token was revoked.")

    def let_back_in(self) -> None:
        """Let agents in although the server goes down, if they hold something and have found no other server for it."""
        self._lets_back_in = True

    def close_all(self) -> None:
        """The server goes down: agents are to come again, to whoever answers then."""
        for outbox in self._open:
            outbox.close(GOING_AWAY, "The server restarts.")

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one WebSocket scope. While the server goes down the answer is 503, as it would be to a request."""
        await receive()
        if self._dispatcher.floor.is_closed() and not self._lets_back_in:
            await _refuse(scope, send)
            return
        await send({"type": "websocket.accept"})
        outbox = Outbox(lambda text: send({"type": "websocket.send", "text": text}))
        try:
            agent_id, principal = await self._admit(scope)
        except Refusal as refusal:
            await _close(send, _code(refusal), refusal.message)
            return
        # From here on a token that is revoked, or a server that goes down, closes this socket.
        with self._listed(outbox, principal.token_id or ""):
            hello = await self._hear_hello(receive, send)
            if outbox.closing is not None:
                await _close(send, *outbox.closing)
            elif hello is not None and self._dispatcher.floor.is_closed() and not hello.holding:
                await _close(send, GOING_AWAY, "The server restarts.")
            elif hello is not None:
                await self._serve(agent_id, hello, receive, send, outbox)

    @contextmanager
    def _listed(self, outbox: Outbox, token: str) -> Iterator[None]:
        self._open.add(outbox)
        self._tokens.setdefault(token, set()).add(outbox)
        try:
            yield
        finally:
            self._open.discard(outbox)
            self._tokens[token].discard(outbox)
            if not self._tokens[token]:
                del self._tokens[token]

    async def _hear_hello(self, receive: Any, send: Any) -> frames.Hello | None:
        """The first frame; None when the peer has gone, or was sent away for what it said or did not say."""
        try:
            async with asyncio.timeout(_HELLO_SECONDS):
                text = await _text(receive)
            return None if text is None else frames.read_hello(text)
        except TimeoutError:
            await _close(send, 4408, "No hello came within 10 seconds.")
        except frames.UNREADABLE as error:
            await _close(send, 4400, f"The first frame must be a hello: {error}")
        return None

    async def _admit(self, scope: Any) -> tuple[int, Principal]:
        match = _PATH.match(scope["path"])
        if match is None:
            raise NotFound("There is no socket at this address.")
        principal = await self._authenticate(dict(scope["headers"]).get(b"authorization"))
        agent_id = int(match[1])
        if principal.role is not Role.ADMIN and principal.agent_id != agent_id:
            raise _WrongAgent("This token is for another agent, or is not an agent's.")
        return agent_id, principal

    async def _serve(self, agent_id: int, hello: frames.Hello, receive: Any, send: Any, outbox: Outbox) -> None:
        try:
            said, slots, held = await self._let_in(agent_id, hello)
        except Refusal as refusal:
            await _close(send, _code(refusal), refusal.message)
            return
        await send({"type": "websocket.send", "text": msgspec.json.encode(self._welcome(said, slots)).decode()})
        socket = AgentSocket(self._dispatcher, said, slots, lambda: _text(receive), outbox)
        writing = asyncio.create_task(outbox.run(), name=f"outbox {said.instance_id}")
        reading = asyncio.create_task(socket.serve(held, hello.holding), name=f"socket {said.instance_id}")
        try:
            await asyncio.wait([writing, reading], return_when=asyncio.FIRST_COMPLETED)
            if outbox.closing is not None:
                await _close(send, *outbox.closing)
            elif reading.done() and (error := reading.exception()) is not None:
                _log.error("socket_failed", instance=str(said.instance_id), exc_info=error)
                await _close(send, 1011, "Something went wrong here; come again.")
            elif reading.done() and not writing.done():
                # Answers to the last reports may still be waiting.
                outbox.close(1000, "Goodbye.")
                await asyncio.wait([writing], timeout=1)
                await _close(send, 1000, "Goodbye.")
        finally:
            for task in (writing, reading):
                task.cancel()
            await asyncio.gather(writing, reading, return_exceptions=True)

    async def _let_in(self, agent_id: int, hello: frames.Hello) -> tuple[Hello, int, list[Any]]:
        await self._dispatcher.roster.refresh()
        agent = self._dispatcher.roster.find(agent_id)
        if agent is None:
            raise NotFound(f"There is no agent {agent_id}; register it first.")
        slots = hello.slots or agent.max_concurrency or self._default_slots
        said = Hello(
            UUID(hello.instance),
            agent_id,
            slots,
            None if hello.launch is None else UUID(hello.launch),
            None,
            hello.region or agent.region,
            hello.version,
            None if hello.tasks is None else msgspec.json.encode(hello.tasks).decode(),
            tuple(hello.capabilities),
            hello.health_interval_ms,
        )
        held = await self._dispatcher.leases.hello(said)
        await self._dispatcher.roster.refresh()
        return said, slots, held

    def _welcome(self, said: Hello, slots: int) -> frames.Welcome:
        agent = self._dispatcher.roster.find(said.agent_id)
        return frames.Welcome(
            str(said.agent_id),
            agent.name if agent is not None else "",
            str(said.instance_id),
            slots,
            int(LEASE.total_seconds() * 1000),
            int(HEARTBEAT.total_seconds() * 1000),
        )


async def _nobody_yet(_header: bytes | None) -> Principal:
    raise Unavailable("The server is starting.")


class _WrongAgent(Refusal):
    code = "forbidden"


def _code(refusal: Refusal) -> int:
    if isinstance(refusal, _WrongAgent):
        return 4403
    return next((code for kind, code in _CLOSE_CODES.items() if isinstance(refusal, kind)), 4400)


async def _text(receive: Callable[[], Awaitable[dict[str, Any]]]) -> str | None:
    message = await receive()
    if message["type"] == "websocket.disconnect":
        return None
    text = message.get("text")
    if text is not None:
        return str(text)
    return bytes(message["bytes"]).decode()


async def _refuse(scope: Any, send: Any) -> None:
    """Answer the request to become a WebSocket with 503, so that a load balancer tries another server by itself."""
    if "websocket.http.response" not in (scope.get("extensions") or {}):
        await send({"type": "websocket.close", "code": GOING_AWAY})
        return
    refusal = Unavailable("The server is going down; connect again to another one, or a little later.")
    headers = [(name.lower(), value) for name, value in headers_of(refusal)]
    await send({"type": "websocket.http.response.start", "status": status_of(refusal), "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body_of(refusal)})


async def _close(send: Any, code: int, reason: str) -> None:
    await send({"type": "websocket.close", "code": code, "reason": reason.encode()[:120].decode(errors="ignore")})
