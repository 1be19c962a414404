"""The application: every HTTP request goes the same way, from its path to its answer.

request id → match → authenticate → limit → rule → body → handler → bytes. Nothing but Refusals is told to a client.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from itertools import count
from typing import Any, TypeAlias
from uuid import uuid4

import httpx
import structlog

from workstation.api import audit_trail, body_bytes, ids, sending
from workstation.api.auth import Authenticator
from workstation.api.body_bytes import ClientGone, Oversized, Receive
from workstation.api.call import Call, Reply, Stream
from workstation.api.cors import Cors
from workstation.api.dependencies import Dependencies
from workstation.api.errors import Headers, Internal, body_of, headers_of, status_of
from workstation.api.forwarded import client_of
from workstation.api.keys import KeySet
from workstation.api.limits import RateLimiter, address_key
from workstation.api.routes.system import openapi_route
from workstation.api.routes.table import ROUTES
from workstation.api.routing import Route, Router
from workstation.api.sending import Send
from workstation.domain.errors import Forbidden, Refusal, Unauthenticated, Unavailable
from workstation.domain.principal import Principal, Role

Scope: TypeAlias = dict[str, Any]
AsgiApp: TypeAlias = Callable[[Any, Any, Any], Awaitable[None]]

_log = structlog.get_logger("workstation.api")


class Application:
    """An ASGI application over a table of routes. sockets serves what comes as a WebSocket.

    authenticator is shared with whoever serves sockets.
    """

    def __init__(self, using: Dependencies, routes: Iterable[Route], sockets: AsgiApp | None = None) -> None:
        self.using = using
        self.router = Router(routes)
        self._client = httpx.AsyncClient() if using.settings.identity_provider is not None else None
        self.authenticator = Authenticator(
            using.key, using.revocations, using.clock.wall, _key_set(using, self._client)
        )
        self.sockets = sockets
        self._cors = Cors(using.settings.allowed_origins)
        self._trusted = using.settings.trusted_proxies
        self._per_token = RateLimiter(using.settings.limits.per_token, using.clock.monotonic)
        self._per_address = RateLimiter(using.settings.limits.per_address, using.clock.monotonic)
        self._id_prefix = uuid4().hex[:12]
        self._ids = count(1)
        self._going_down = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope."""
        if scope["type"] == "http":
            await self._serve(scope, receive, send)
        elif scope["type"] == "websocket" and self.sockets is not None:
            await self.sockets(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1011})
        elif scope["type"] == "lifespan":
            await sending.lifespan(receive, send)

    def go_down(self) -> None:
        """Answer those who wait: they are to ask again, another replica or the next start of this one."""
        self._going_down.set()

    async def close(self) -> None:
        """Let go of what the application holds open itself: the line to the identity provider."""
        if self._client is not None:
            await self._client.aclose()

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        client = scope.get("client")
        call = Call(
            self.using,
            self._request_id(headers),
            headers,
            client_of(client[0], headers.get(b"x-forwarded-for"), self._trusted) if client else "local",
        )
        extra: Headers = []
        lingers = False
        try:
            reply = await self._answer(scope["method"], scope["path"], scope["query_string"], call, receive, extra)
        except ClientGone:
            return
        except Refusal as refusal:
            reply = _refused(refusal)
            lingers = isinstance(refusal, Oversized) and refusal.unread
        except asyncio.CancelledError:
            if not self._going_down.is_set():
                raise
            # Cut short by the end of the server: what it did is unknown, and the client is still there to be told so.
            reply = _refused(Unavailable("The server goes down; ask again in a moment."))
        except Exception as error:  # noqa: BLE001 - the last place that can tell the client anything at all
            _log.exception("request_failed", request_id=call.request_id, path=scope["path"], exc_info=error)
            reply = _refused(
                Internal(f"Something went wrong here; tell the operator the request id {call.request_id}.")
            )
        extra.append((b"x-request-id", call.request_id.encode()))
        self._cors.add(headers.get(b"origin"), extra)
        if self.using.leaving():
            # The next request of this client has to find a server that stays.
            extra.append((b"connection", b"close"))
        if isinstance(reply, Stream):
            await sending.send_stream(reply, extra, receive, send)
        elif lingers:
            await sending.send_lingering(reply, extra, receive, send)
        else:
            await sending.send(reply, extra, send)

    async def _answer(
        self, method: str, path: str, query: bytes, call: Call, receive: Receive, extra: Headers
    ) -> Reply | Stream:
        headers = call.headers
        if method == "OPTIONS":
            return self._options(path, headers)
        route, call.params = self.router.find(method, path)
        if route.rule.needs_token:
            await self._admit(route, call, extra)
        try:
            if route.read_query is not None:
                call.query = route.read_query.read(query)
            if route.read_body is not None:
                body = await body_bytes.read(headers, receive, route.body_limit)
                if body or route.body_needed:
                    body_bytes.require_json(headers)
                    call.body, call.document = route.read_body.read(body)
            if route.watched is not None and route.watched(call):
                reply = await sending.while_connected(route.handler(call), receive, self._going_down)
            else:
                reply = await route.handler(call)
        except Refusal as refusal:
            if route.audit is not None:
                audit_trail.note(route, call, status_of(refusal))
            raise
        if route.audit is not None:
            audit_trail.note(route, call, reply.status)
        return reply

    async def _admit(self, route: Route, call: Call, extra: Headers) -> None:
        header = call.headers.get(b"authorization")
        try:
            principal = self.authenticator.known(header) or await self.authenticator.authenticate(header)
        except Unauthenticated:
            self._per_address.take(address_key(call.peer), extra)
            raise
        call.principal = principal
        if route.limited:
            self._per_token.take(principal.token_id or principal.subject, extra)
        if principal.role not in route.rule.roles:
            if route.changes:
                audit_trail.refused(route, call)
            raise Forbidden(f"A token of role {principal.role.value} may not do this.")
        if route.rule.own_agent and principal.role is Role.AGENT and not _is_own(call.params, principal):
            if route.changes:
                audit_trail.refused(route, call)
            raise Forbidden("A token of an agent may do this for its own agent only.")

    def _options(self, path: str, headers: dict[bytes, bytes]) -> Reply:
        methods = self.router.methods(path)
        if not methods:
            self.router.find("OPTIONS", path)
        if b"access-control-request-method" in headers:
            return Reply(b"", 204, self._cors.preflight(headers.get(b"origin")))
        return Reply(b"", 204, [(b"allow", ", ".join(methods).encode())])

    def _request_id(self, headers: dict[bytes, bytes]) -> str:
        return ids.request_id(headers.get(b"x-request-id")) or f"{self._id_prefix}-{next(self._ids):x}"


def _is_own(params: tuple[str, ...], principal: Principal) -> bool:
    return params[0].isdigit() and len(params[0]) < 20 and int(params[0]) == principal.agent_id


def _key_set(using: Dependencies, client: httpx.AsyncClient | None) -> KeySet | None:
    provider = using.settings.identity_provider
    if provider is None or client is None:
        return None
    return KeySet(provider, using.clock.monotonic, client)


def _refused(refusal: Refusal) -> Reply:
    return Reply(body_of(refusal), status_of(refusal), headers_of(refusal))


def create_app(using: Dependencies, sockets: AsgiApp | None = None) -> Application:
    """The application with every route there is."""
    return Application(using, (*ROUTES, openapi_route(ROUTES)), sockets)
