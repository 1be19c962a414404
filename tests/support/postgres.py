"""One real PostgreSQL for a test process, and fresh databases on it.

The server outlives a killed test run; the next run finds its folder unlocked, stops it and removes all.
"""

import asyncio
import fcntl
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from itertools import count
from pathlib import Path

import asyncpg

from workstation.server.postgres import EmbeddedPostgres, PostgresOptions

MEMORY = Path("/dev/shm")
ROOMY = 2 * 1024**3


def _fastest_folder() -> Path:
    """Memory where there is plenty: a database is 300 files, and some disks take 0.3 s to make so many."""
    roomy = MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ROOMY
    return MEMORY if roomy else Path(tempfile.gettempdir())


ROOT = _fastest_folder() / f"workstation-tests-{os.geteuid()}"
OPTIONS = PostgresOptions(durable=False, shared_buffers="64MB", max_wal_size="512MB", stop_timeout=timedelta(seconds=1))


def private_root() -> Path:
    """The folder of all test servers of this user: nobody else can have made it or look into it."""
    ROOT.mkdir(mode=0o700, exist_ok=True)
    status = ROOT.lstat()
    assert status.st_uid == os.geteuid() and status.st_mode & 0o077 == 0, f"{ROOT} is open to others"
    return ROOT


@contextmanager
def server_folder() -> Iterator[Path]:
    """A folder for servers of this process; those that killed runs left, servers included, go first."""
    root = private_root()
    for leftover in root.iterdir():
        _sweep(leftover)
    folder = Path(tempfile.mkdtemp(dir=root))
    lock = os.open(folder, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        yield folder
    finally:
        os.close(lock)
        _sweep(folder)


def _sweep(folder: Path) -> None:
    try:
        lock = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for layout in [path.parent for path in folder.rglob("socket") if path.is_dir()]:
            asyncio.run(EmbeddedPostgres(layout, layout / "log", OPTIONS).stop())
        shutil.rmtree(folder)
    except BlockingIOError:
        return  # Its test run is still alive.
    finally:
        os.close(lock)


class TestServer:
    """A running server without durability, for tests."""

    __test__ = False

    def __init__(self, folder: Path) -> None:
        self._server = EmbeddedPostgres(folder / "postgres", folder / "postgres.log", OPTIONS)
        self._numbers = count(1)

    @property
    def server(self) -> EmbeddedPostgres:
        """The server itself, for tests that stop and start it."""
        return self._server

    def start(self) -> None:
        """Start it, from a test's fixture (no event loop runs)."""
        asyncio.run(self._server.start())

    def stop(self) -> None:
        """Stop it."""
        asyncio.run(self._server.stop())

    @asynccontextmanager
    async def database(self, template: str = "template1") -> AsyncIterator[str]:
        """The DSN of a fresh database, a copy of `template`; dropped afterwards, whoever is connected."""
        name = f"test_{next(self._numbers)}"
        await self.execute(f'create database "{name}" template "{template}" strategy file_copy')
        try:
            yield self._server.dsn_of(name)
        finally:
            await self.execute(f'drop database if exists "{name}" with (force)')

    async def execute(self, statement: str) -> None:
        """Run one statement in the maintenance database."""
        connection = await asyncpg.connect(self._server.dsn, timeout=10)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()
