"""The wiring: which part is given which. Nothing here decides anything."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from uuid import UUID

from workstation.api.app import Application, create_app
from workstation.api.dependencies import ApiSettings, Dependencies
from workstation.api.gateway.door import AgentDoor
from workstation.api.gateway.pull import PullSessions
from workstation.api.revocations import Revocations
from workstation.dispatch.admission import Admission
from workstation.dispatch.dispatcher import Chances, Dispatcher
from workstation.domain.principal import Role
from workstation.engine.health import HealthWatch
from workstation.engine.janitor import Janitor
from workstation.engine.loop import Loop
from workstation.engine.node import NodeLease
from workstation.engine.reaper import Reaper
from workstation.engine.supervisor import IssueToken, Supervisor, Surroundings
from workstation.runtimes import log_files
from workstation.runtimes.driver import Driver
from workstation.runtimes.table import DriverSettings, make_drivers
from workstation.server.checkup import Checkup
from workstation.server.data_folder import DataFolder
from workstation.server.readiness import Readiness
from workstation.server.settings import Settings
from workstation.services import agents, tokens
from workstation.services.audit import AuditTrail
from workstation.services.signing import SigningKey
from workstation.services.tokens import TokenWish
from workstation.store.database import Database
from workstation.store.fail_points import FailPoints
from workstation.telemetry import clock

_LAUNCH_TOKEN_LIFETIME = timedelta(days=365)


@dataclass(frozen=True, slots=True)
class Parts:
    """A composed server: what run.py starts and stops."""

    database: Database
    dispatcher: Dispatcher
    app: Application
    door: AgentDoor
    supervisor: Supervisor
    readiness: Readiness
    revocations: Revocations
    audit: AuditTrail
    janitor: Janitor
    node: NodeLease
    drivers: Mapping[str, Driver]
    loops: tuple[Loop, ...]


class AgentLogs:
    """Reads what started agents wrote: their files in the data folder."""

    def __init__(self, database: Database, folder: DataFolder) -> None:
        self._database = database
        self._folder = folder

    async def tail(self, agent_id: int, lines: int) -> list[str]:
        """The last lines, oldest first."""
        return await asyncio.to_thread(log_files.tail, await self._path(agent_id), lines)

    async def follow(self, agent_id: int, lines: int) -> AsyncIterator[str]:
        """The last lines, then every new one as it comes."""
        async for line in log_files.follow(await self._path(agent_id), lines, lambda: False):
            yield line

    async def _path(self, agent_id: int) -> Path:
        row = await agents.get_agent(self._database, agent_id)
        return self._folder.agent_log(agent_id, row["name"])


def compose(
    settings: Settings, folder: DataFolder, database: Database, key: SigningKey, node_id: UUID, url: str
) -> Parts:
    """Put one server together over an open database."""
    dispatcher = Dispatcher(database, node_id, Chances(clock.monotonic, random.Random().random))  # noqa: S311
    drivers = make_drivers(DriverSettings(settings.environment))
    supervisor = Supervisor(
        database,
        drivers,
        Surroundings(
            node_id,
            ",".join(dict.fromkeys((url, *settings.agent_urls))),
            folder.agent_log,
            _token_issuer(database, key),
            settings.agent_env,
        ),
        dispatcher.roster.refresh,
    )
    supervise = _loop("supervisor", supervisor.supervise_once, 1.0)
    supervisor.nudged_by(supervise.nudge)
    dispatcher.roster.on_change(lambda _agent, _number: supervise.nudge())
    revocations = Revocations(database)
    audit = AuditTrail(database)
    readiness = Readiness(database)
    using = Dependencies(
        database=database,
        key=key,
        revocations=revocations,
        audit=audit,
        dispatcher=dispatcher,
        admission=Admission(dispatcher.roster),
        pulling=PullSessions(dispatcher),
        logs=AgentLogs(database, folder),
        ordered=supervise.nudge,
        settings=ApiSettings(settings.allowed_origins, settings.trusted_proxies),
        missing=readiness.missing,
        leaving=lambda: readiness.draining,
        examine=Checkup(database, dispatcher.wakeups, folder.path, lambda: loops).examine,
    )
    door = AgentDoor(dispatcher, settings.max_concurrent_tasks)
    app = create_app(using, sockets=door)
    door.authenticated_by(app.authenticator.authenticate)
    revocations.on_revoked(door.close_revoked)
    reaper = Reaper(database, dispatcher, clock.monotonic)
    janitor = Janitor(database, settings.retention)
    node = NodeLease(database, node_id, url, key.fingerprint)
    loops = (
        supervise,
        _loop("poll", _counted(dispatcher.poll_once), 1.0),
        _loop("look", _counted(dispatcher.look_once), 0.25),
        _loop("leases", dispatcher.leases.renew_once, 1.0),
        _loop("reaper", reaper.reap_once, 1.0),
        _loop("revocations", revocations.refresh, 1.0),
        _loop("node", node.renew_once, 5.0),
        _loop("health", HealthWatch(database).expire_once, 5.0),
        _loop("counts", janitor.fold_once, 2.0),
        _loop("tidy", janitor.tidy_once, 60.0),
        _loop("partitions", janitor.partition_once, 3600.0),
    )
    return Parts(
        database, dispatcher, app, door, supervisor, readiness, revocations, audit, janitor, node, drivers, loops
    )


def fail_points(settings: Settings) -> FailPoints | None:
    """What is to go wrong on purpose; None where nothing is."""
    if not settings.fail_points:
        return None
    return FailPoints(settings.fail_points, random.Random().random)  # noqa: S311 - nothing secret hangs on it


def _loop(name: str, step: Callable[[], Awaitable[int]], seconds: float) -> Loop:
    return Loop(name, step, interval=timedelta(seconds=seconds), batch=1)


def _counted(step: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[int]]:
    async def once() -> int:
        await step()
        return 0

    return once


def _token_issuer(database: Database, key: SigningKey) -> IssueToken:
    async def issue(agent_id: int, launch_id: UUID) -> str:
        wish = TokenWish(Role.AGENT, None, agent_id, launch_id, _LAUNCH_TOKEN_LIFETIME)
        return (await tokens.issue(database, key, wish, created_by="supervisor")).token

    return issue
