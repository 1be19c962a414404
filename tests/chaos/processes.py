"""The processes of a run: PostgreSQL, an orchestrator, an agent, each kept running as a service manager would."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import asyncpg
from tests.chaos.proxy import Proxy, Streams
from tests.chaos.recorder import Recorder
from tests.support.live_server import ROOT, LiveServer

from workstation.runtimes.exits import is_alive
from workstation.server.postgres import EmbeddedPostgres, PostgresOptions

DISK_MIB = 1200
RESPAWN_SECONDS = 1.0
LOCAL_CONF = "min_wal_size = '64MB'\nmax_wal_size = '256MB'\n"


class PostgresServer:
    """A PostgreSQL of our own, on a small disk in memory where we may mount one."""

    def __init__(self, folder: Path) -> None:
        self.disk = folder / "postgres"
        self.disk.mkdir()
        self.has_own_disk = os.geteuid() == 0 and self._mount()
        options = PostgresOptions(shared_buffers="64MB", max_connections=80, stop_timeout=timedelta(seconds=5))
        self._server = EmbeddedPostgres(self.disk, folder / "postgres.log", options)

    def _mount(self) -> bool:
        command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m,mode=0711", "chaos", str(self.disk)]
        return subprocess.run(command, check=False, capture_output=True).returncode == 0

    @property
    def dsn(self) -> str:
        """Its address past the doors, for whoever looks in from outside."""
        return self._server.dsn

    @property
    def running(self) -> bool:
        """Whether its main process lives."""
        return self._server.pid is not None and is_alive(self._server.pid)

    async def start(self) -> None:
        """Start it."""
        await self._server.start()
        local = self.disk / "18" / "postgresql.local.conf"
        if not local.exists():
            local.write_text(LOCAL_CONF)
            local.chmod(0o644)

    async def stop(self) -> None:
        """Shut it down."""
        await self._server.stop()

    async def kill(self) -> None:
        """kill -9 of its main process; the others follow by themselves."""
        pid = self._server.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        while self.running:
            await asyncio.sleep(0.02)

    async def reach(self) -> Streams:
        """A connection to its socket."""
        return await asyncio.open_unix_connection(str(self.disk / "socket" / ".s.PGSQL.5432"))

    async def rows(self, query: str, *values: object) -> list[asyncpg.Record]:
        """Rows, read past the doors."""
        connection = await asyncpg.connect(self.dsn, timeout=5, command_timeout=30)
        try:
            return list(await connection.fetch(query, *values))
        finally:
            await connection.close(timeout=2)

    def fill_disk(self) -> None:
        """Leave no space at all."""
        with self._filler.open("ab") as filler:
            piece = shutil.disk_usage(self.disk).free
            while piece >= 4096:
                try:
                    os.posix_fallocate(filler.fileno(), os.fstat(filler.fileno()).st_size, piece)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    piece //= 2

    def free_disk(self) -> None:
        """Give the space back."""
        self._filler.unlink(missing_ok=True)

    @property
    def _filler(self) -> Path:
        return self.disk / "filler"


class Replica:
    """One orchestrator, with a door of its own to the database; started again whenever it ends, unless held down."""

    def __init__(self, number: int, server: LiveServer, door: Proxy, record: Recorder) -> None:
        self.number = number
        self.server = server
        self.door = door
        self.held_down = False
        self._record = record
        self._keeping: asyncio.Task[None] | None = None

    def keep(self) -> None:
        """From now on start it again whenever it ends, as a service manager would."""
        self._keeping = asyncio.create_task(self._keep())

    async def _keep(self) -> None:
        while True:
            if not self.server.running and not self.held_down:
                await self._start()
            await asyncio.sleep(0.05)

    async def _start(self) -> None:
        self._record("orchestrator ended", replica=self.number, pid=self.server.pid)
        await asyncio.sleep(0.3)
        self.server.launch()
        self._record("orchestrator started", replica=self.number, pid=self.server.pid)
        try:
            await self.server.until_ready(120)
        except AssertionError as failure:
            self._record("orchestrator did not start", replica=self.number, why=str(failure)[-1000:])
            return
        self._record("orchestrator ready", replica=self.number, pid=self.server.pid)

    async def settle(self) -> None:
        """Have it run and be ready, however it was left."""
        self.held_down = False
        self.door.heal()
        if self.server.running:
            self.server.send(signal.SIGCONT)

    async def end(self) -> tuple[int | None, float]:
        """End it in order: its exit code (None where it had to be killed), and the seconds it took."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
        await self.server.close()
        if not self.server.running:
            return None, 0.0
        self.server.send(signal.SIGCONT)
        try:
            return await self.server.terminate(within=30)
        except subprocess.TimeoutExpired:
            self.server.kill()
            return None, 30.0


class AgentKeeper:
    """Keeps one agent process running, as a service manager would, until it is told to stop."""

    def __init__(self, name: str, program: str, environment: dict[str, str], log: Path, record: Recorder) -> None:
        self.name = name
        self._program = program
        self._environment = environment
        self._log = log
        self._record = record
        self._process: subprocess.Popen[bytes] | None = None
        self._keeping: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        """The number of the process that runs now, or ran last."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start the process, and start it again whenever it ends."""
        self._keeping = asyncio.create_task(self._keep())

    async def _keep(self) -> None:
        while True:
            self._spawn()
            assert self._process is not None
            while self._process.poll() is None:
                await asyncio.sleep(0.05)
            self._record("agent ended", name=self.name, pid=self._process.pid, code=self._process.returncode)
            await asyncio.sleep(RESPAWN_SECONDS)

    def _spawn(self) -> None:
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", f"tests.chaos.agents.{self._program}"],
                cwd=ROOT,
                env={**os.environ, **self._environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._record("agent started", name=self.name, pid=self._process.pid)

    def send(self, number: signal.Signals) -> None:
        """Send its process a signal."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    async def end(self) -> None:
        """End it for good."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            await asyncio.to_thread(self._process.wait, 10)
