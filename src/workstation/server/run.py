"""The life of the process: start in order, serve until a signal, drain, stop in the opposite order."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import structlog
import uvicorn
import uvloop

from workstation.domain.errors import Refusal, Unavailable
from workstation.domain.findings import Level
from workstation.domain.principal import Role
from workstation.engine.node import VERSION
from workstation.server import logs, ports
from workstation.server.compose import Parts, compose, fail_points
from workstation.server.data_folder import Credentials, DataFolder, DataFolderFailure
from workstation.server.draining import drain
from workstation.server.http import HttpProtocol
from workstation.server.postgres.embedded import EmbeddedPostgres, PostgresEvent
from workstation.server.postgres.failure import PostgresFailure
from workstation.server.postgres.options import PostgresOptions
from workstation.server.seed import seed_builtins
from workstation.server.settings import Settings
from workstation.services import examination, tokens
from workstation.services.signing import SigningKey
from workstation.services.tokens import TokenWish
from workstation.store import restored
from workstation.store.database import Database
from workstation.store.durability import connections_allowed
from workstation.store.migrate import migrate

_CLI_TOKEN_LIFETIME = timedelta(days=365)
_log = structlog.get_logger(__name__)


class StartFailure(Exception):
    """The server cannot start: one sentence that says why and what to do."""


@dataclass(frozen=True, slots=True)
class Running:
    """A server that is ready: where everything is, and one sentence for each thing that may hurt it."""

    url: str
    database: str
    data_folder: Path
    server_log: Path
    agents: tuple[str, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Told:
    """Who is told of the life of the server: announce when it is ready, stopping when it begins to go
    down, progress of what takes long at a start."""

    announce: Callable[[Running], None]
    stopping: Callable[[], None] = lambda: None
    progress: Callable[[str], None] = lambda _sentence: None


def up(settings: Settings, told: Told) -> int:
    """Start everything and stay until a signal; returns the exit code.

    Raises StartFailure, or DataFolderTaken when another server runs on this data folder.
    """
    folder = DataFolder(settings.data_dir)
    lock = folder.lock()
    try:
        logs.to_file(folder.server_log)
        listener = ports.bind(settings.host, settings.port)
        with contextlib.closing(listener):
            url = ports.url_of(listener)
            lock.describe(url)
            return uvloop.run(_serve(settings, folder, listener, url, told))
    except (PostgresFailure, DataFolderFailure, Refusal, ports.PortTaken) as failure:
        raise StartFailure(str(failure)) from failure
    finally:
        lock.release()


async def _serve(
    settings: Settings,
    folder: DataFolder,
    listener: socket.socket,
    url: str,
    told: Told,
) -> int:
    stop = _stop_event()
    async with AsyncExitStack() as stack:
        dsn = await stack.enter_async_context(_postgres(settings, folder, told))
        await _migrate(settings, dsn)
        database = await _connect(dsn, settings)
        stack.push_async_callback(database.close)
        if await restored.adopt_transactions(database):
            _log.info("the rows of a restored dump are numbered anew")
        key = SigningKey(settings.jwt_secret or folder.secret())
        parts = compose(settings, folder, database, key, folder.node_id(), url)
        await _require_room(database)
        await parts.janitor.partition_once()
        await seed_builtins(database, start=settings.start_agents)
        await parts.node.join()
        await parts.dispatcher.poll_once()
        await parts.revocations.refresh()
        await _save_credentials(database, key, folder, url)
        async with _running(parts, listener):
            parts.readiness.started = True
            _settle_memory()
            _log.info("ready", url=url, node=str(folder.node_id()), version=VERSION)
            told.announce(replace(_where(settings, folder, url, dsn, parts), warnings=await _warnings(database)))
            await stop.wait()
            _log.info("stopping")
            told.stopping()
            await drain(parts, settings.drain_seconds)
    return 0


def _settle_memory() -> None:
    """What was made at start stays for good, and requests leave no cycles: the collector need not look so often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def _stop_event() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    return stop


@asynccontextmanager
async def _postgres(settings: Settings, folder: DataFolder, told: Told) -> AsyncIterator[str]:
    """The address of the database: the given one, or the embedded server, watched while we live."""
    if settings.database_url is not None:
        yield settings.database_url
        return
    options = PostgresOptions(
        max_connections=_embedded_connections(settings.pool_size),
        older_programs=settings.older_postgres,
        tell=told.progress,
    )
    server = EmbeddedPostgres(folder.postgres, folder.postgres_log, options)
    dsn = await server.start()
    watching = asyncio.create_task(server.watch(_report_postgres), name="postgres watch")
    try:
        yield dsn
    finally:
        watching.cancel()
        await server.stop()


def _embedded_connections(pool_size: int) -> int:
    """Room for this server, the kept connections included, and for a few who look."""
    return max(60, pool_size + 40)


def _report_postgres(event: PostgresEvent) -> None:
    _log.warning("postgres", what=event.kind, pid=event.pid, detail=event.detail)


async def _migrate(settings: Settings, dsn: str) -> None:
    """Not through a pooler, where the database is known past it."""
    alone = replace(settings, pool_size=1, database_direct_url=None)
    database = await _connect(settings.database_direct_url or dsn, alone)
    try:
        await migrate(database)
    finally:
        await database.close()


async def _connect(dsn: str, settings: Settings) -> Database:
    direct_dsn = settings.database_direct_url
    try:
        return await Database.connect(
            dsn, pool_size=settings.pool_size, direct_dsn=direct_dsn, fail_points=fail_points(settings)
        )
    except Unavailable as error:
        which = "DATABASE_URL" if direct_dsn is None else "DATABASE_URL or DATABASE_DIRECT_URL"
        raise Unavailable(
            f"The database of {which} does not answer; check the address and that the server runs."
        ) from error


async def _require_room(database: Database) -> None:
    """Raises Refusal where the database allows fewer connections than this server may open; a pooler shares out few."""
    if database.pooled:
        return
    async with database.session() as connection:
        allowed = await connections_allowed(connection)
    if database.most_connections > allowed:
        raise Refusal(
            f"The database allows {allowed} connections and this server may need {database.most_connections}: "
            "raise its max_connections, or lower WORKSTATION_POOL_SIZE."
        )


async def _save_credentials(database: Database, key: SigningKey, folder: DataFolder, url: str) -> None:
    """Log the command line in: the saved token serves as long as this key signs and it has a month to go."""
    saved = folder.read_credentials()
    if saved is not None and key.accepts(saved.token, for_at_least=timedelta(days=30)):
        if saved.url != url:
            folder.write_credentials(Credentials(url, saved.token))
        return
    wish = TokenWish(Role.ADMIN, "cli", lifetime=_CLI_TOKEN_LIFETIME)
    issued = await tokens.issue(database, key, wish, created_by="workstation up")
    folder.write_credentials(Credentials(url, issued.token))


@asynccontextmanager
async def _running(parts: Parts, listener: socket.socket) -> AsyncIterator[None]:
    """Everything that runs, from the loops to the listener; stopped in the opposite order."""
    web = _Web(
        uvicorn.Config(
            parts.app,
            loop="uvloop",
            http=HttpProtocol,
            ws="websockets-sansio",
            ws_max_size=4 * 1024 * 1024,
            ws_per_message_deflate=False,
            ws_ping_interval=None,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            date_header=False,
            backlog=4096,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=3,
        )
    )
    tasks = [
        asyncio.create_task(parts.dispatcher.claimer.run(), name="claimer"),
        asyncio.create_task(parts.dispatcher.wakeups.listen(), name="wakeups"),
        *(asyncio.create_task(loop.run(), name=loop.name) for loop in parts.loops),
    ]
    serving = asyncio.create_task(web.serve(sockets=[listener]), name="web")
    try:
        while not web.started:
            if serving.done():
                await serving
            await asyncio.sleep(0.005)
        yield
    finally:
        parts.dispatcher.waiters.close()
        parts.door.close_all()
        parts.app.go_down()
        web.should_exit = True
        await serving
        await parts.dispatcher.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await parts.supervisor.close()
        for driver in parts.drivers.values():
            await driver.close()
        await parts.app.close()
        with contextlib.suppress(Unavailable):
            await parts.audit.close()
            await parts.node.leave()


def _where(settings: Settings, folder: DataFolder, url: str, dsn: str, parts: Parts) -> Running:
    # The embedded one has no password to give away; another's address may have.
    database = f"embedded PostgreSQL: {dsn}" if settings.database_url is None else "DATABASE_URL"
    names = tuple(agent.name for agent in parts.dispatcher.roster.wanted())
    return Running(url, database, folder.path, folder.server_log, names)


async def _warnings(database: Database) -> tuple[str, ...]:
    """What is better known from the start than from a power cut."""
    async with database.session() as connection:
        found = await examination.durability(connection)
    warnings = tuple(finding.message for finding in found if finding.level is not Level.OK)
    for message in warnings:
        _log.warning("not_durable", message=message)
    return warnings


class _Web(uvicorn.Server):
    """uvicorn without its own idea of signals: ours drains first."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
