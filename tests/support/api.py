"""The whole API over a real database, served in this process and spoken to through httpx."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import httpx
import uvicorn

from workstation.api.app import Application, create_app
from workstation.api.dependencies import ApiSettings, Clock, Dependencies
from workstation.api.gateway.door import AgentDoor
from workstation.api.gateway.pull import PullSessions
from workstation.api.limits import Limits
from workstation.api.revocations import Revocations
from workstation.dispatch.admission import Admission
from workstation.dispatch.dispatcher import Chances, Dispatcher
from workstation.domain.buckets import Limit
from workstation.domain.principal import Role
from workstation.server.checkup import Checkup
from workstation.server.http import HttpProtocol
from workstation.services import tokens
from workstation.services.audit import AuditTrail
from workstation.services.signing import SigningKey
from workstation.store.database import Database
from workstation.store.migrate import migrate
from workstation.telemetry import clock

KEY = SigningKey(b"a secret for tests, 32 bytes long")
UNLIMITED = Limits(per_token=Limit(1e6, 10**6), per_address=Limit(1e6, 10**6))


@dataclass
class Logs:
    """Lines by agent, as a runtime driver would have them."""

    lines: dict[int, list[str]] = field(default_factory=dict)
    following: int = 0

    async def tail(self, agent_id: int, lines: int) -> list[str]:
        """The last lines."""
        return self.lines.get(agent_id, [])[-lines:]

    async def follow(self, agent_id: int, lines: int) -> AsyncIterator[str]:
        """The last lines, then whatever is added."""
        seen = max(0, len(self.lines.get(agent_id, [])) - lines)
        self.following += 1
        try:
            while True:
                have = self.lines.get(agent_id, [])
                for line in have[seen:]:
                    yield line
                seen = len(have)
                await asyncio.sleep(0.01)
        finally:
            self.following -= 1


@dataclass
class Api:
    """A running API, tokens for it, and clients that carry them."""

    app: Application
    database: Database
    dispatcher: Dispatcher
    revocations: Revocations
    audit: AuditTrail
    logs: Logs
    missing: list[str]
    base: str
    _clients: list[httpx.AsyncClient] = field(default_factory=list)
    _numbers: Callable[[], int] = field(default_factory=lambda: itertools.count(1).__next__)

    async def token(self, role: str = "admin", agent_id: int | None = None, subject: str | None = None) -> str:
        """A token of this role."""
        wish = tokens.TokenWish(
            Role(role),
            subject or (None if agent_id is not None else f"{role}-{self._numbers()}"),
            agent_id,
            None,
            timedelta(hours=1),
        )
        return (await tokens.issue(self.database, KEY, wish, created_by="test")).token

    async def client(
        self, role: str = "admin", agent_id: int | None = None, subject: str | None = None
    ) -> httpx.AsyncClient:
        """A client with a token of this role."""
        return self.anonymous({"Authorization": f"Bearer {await self.token(role, agent_id, subject)}"})

    def anonymous(self, headers: dict[str, str] | None = None) -> httpx.AsyncClient:
        """A client with these headers and nothing else."""
        client = httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app, raise_app_exceptions=False), base_url=self.base, headers=headers
        )
        self._clients.append(client)
        return client

    async def agent(self, name: str = "worker", **fields: object) -> int:
        """Register an agent that is started elsewhere; its number."""
        admin = await self.client()
        answer = await admin.post("/api/agents", json={"name": name, "type": "custom", **fields})
        assert answer.status_code == 201, answer.text
        return int(answer.json()["data"]["agent"]["id"])

    async def close(self) -> None:
        """Close every client."""
        for client in self._clients:
            await client.aclose()


@asynccontextmanager
async def running_api(dsn: str, settings: ApiSettings | None = None, at: Clock | None = None) -> AsyncIterator[Api]:
    """Everything behind the API as the server composes it, with its loops running."""
    database = await Database.connect(dsn, pool_size=4)
    await migrate(database)
    dispatcher = Dispatcher(database, uuid4(), Chances(clock.monotonic, lambda: 0.5))
    revocations = Revocations(database)
    audit = AuditTrail(database)
    logs = Logs()
    missing: list[str] = []

    async def what_is_missing() -> tuple[str, ...]:
        return tuple(missing)

    using = Dependencies(
        database,
        KEY,
        revocations,
        audit,
        dispatcher,
        Admission(dispatcher.roster),
        PullSessions(dispatcher),
        logs,
        lambda: None,
        settings or ApiSettings(limits=UNLIMITED),
        at or Clock(),
        what_is_missing,
        examine=Checkup(database, dispatcher.wakeups, Path.cwd(), tuple).examine,
    )
    app = create_app(using)
    door = AgentDoor(dispatcher, 10)
    door.authenticated_by(app.authenticator.authenticate)
    app.sockets = door
    revocations.on_revoked(door.close_revoked)
    api = Api(app, database, dispatcher, revocations, audit, logs, missing, "http://test")
    await dispatcher.roster.refresh()
    loops = [asyncio.create_task(_every(0.2, dispatcher)), asyncio.create_task(dispatcher.claimer.run())]
    try:
        yield api
    finally:
        for loop in loops:
            loop.cancel()
        await asyncio.gather(*loops, return_exceptions=True)
        await api.close()
        await audit.close()
        await dispatcher.close()
        await app.close()
        await database.close()


async def _every(seconds: float, dispatcher: Dispatcher) -> None:
    while True:
        await dispatcher.poll_once()
        await dispatcher.leases.renew_once()
        await asyncio.sleep(seconds)


@asynccontextmanager
async def listening(api: Api) -> AsyncIterator[int]:
    """The port of a real HTTP server in front of the API, in this event loop."""
    server = uvicorn.Server(uvicorn.Config(api.app, host="127.0.0.1", port=0, http=HttpProtocol, log_level="error"))
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.005)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        server.force_exit = True
        await serving
