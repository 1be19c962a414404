"""One embedded PostgreSQL server: started or adopted, watched, restarted, stopped."""

import asyncio
import fcntl
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from workstation.runtimes import log_files
from workstation.runtimes.exits import is_alive, wait_for_exit
from workstation.server.postgres import postmaster
from workstation.server.postgres.account import Account, server_account
from workstation.server.postgres.binaries import MAJOR, Binaries, find_binaries, within_reach
from workstation.server.postgres.cluster import FULL, check_version, create_cluster
from workstation.server.postgres.conf import write_configuration
from workstation.server.postgres.failure import PostgresFailure
from workstation.server.postgres.layout import Layout, dsn, known_sockets, prepare, reachable_sockets, restore_alias
from workstation.server.postgres.options import PostgresOptions
from workstation.server.postgres.programs import place, spawn
from workstation.server.postgres.upgrade import find_older_data, upgrade

IMMEDIATE_SECONDS = 10
BACKOFF_SECONDS = (0.0, 0.5, 1.0, 2.0, 5.0)
STEADY_SECONDS = 60
TEND_SECONDS = 30
LAST_BYTES = 4096


@dataclass(frozen=True, slots=True)
class PostgresEvent:
    """Something that happened to the server while it was watched: `died`, `restarted`, `restart_failed`, or
    `trouble` with its log or socket."""

    kind: str
    pid: int | None
    detail: str


class EmbeddedPostgres:
    """A PostgreSQL server of our own in `folder`, reached through a private unix socket.

    It runs in its own session and outlives us when we are killed; the next `start` adopts it. `stop` ends it.
    Whoever owns the workstation's data folder lock owns this; starters that meet all the same take turns.
    """

    def __init__(self, folder: Path, log: Path, options: PostgresOptions) -> None:
        """`folder` takes data and socket, `log` is the server's log file. Nothing happens yet."""
        self._layout = Layout(folder.absolute(), MAJOR)
        self._log = log
        self._options = options
        self._sockets = known_sockets(self._layout)
        self._pid: int | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._log_start = 0
        self._stopping = threading.Event()
        self.adopted = False

    @property
    def pid(self) -> int | None:
        """The server's process number, or None before the first start."""
        return self._pid

    @property
    def dsn(self) -> str:
        """The address of our database, for asyncpg and libpq; valid after `start`."""
        return self.dsn_of(self._options.database)

    def dsn_of(self, database: str) -> str:
        """The address of another database on the same server."""
        return dsn(self._sockets, database)

    @property
    def sockets(self) -> Path:
        """The folder of its socket, for programs; valid after `start`."""
        return self._sockets

    async def start(self) -> str:
        """Make the cluster if there is none, adopt the server if it runs, else start it; return the DSN.

        Raises PostgresFailure with one sentence when there can be no server.
        """
        self._stopping.clear()
        await asyncio.to_thread(self._start)
        return self.dsn

    async def is_ready(self) -> bool:
        """Whether it takes a connection now (tried, within 2 s)."""
        try:
            connection = await asyncpg.connect(self.dsn, timeout=2)
            await connection.close(timeout=2)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False
        return True

    async def stop(self) -> None:
        """Shut down: fast, or immediately when that takes longer than the stop timeout. Idempotent."""
        self._stopping.set()
        await asyncio.to_thread(self._stop)

    async def watch(self, report: Callable[[PostgresEvent], None]) -> None:
        """Restart the server whenever it dies, until `stop`; `report` hears of it. Keeps its log bounded."""
        attempt, since = 0, time.monotonic()
        while not self._stopping.is_set():
            if self._pid is not None and not await self._died():
                await self._tend(report)
                continue
            if self._stopping.is_set():
                return
            if time.monotonic() - since > STEADY_SECONDS:
                attempt = 0
            report(PostgresEvent("died", self._pid, self._last_words()))
            attempt = await self._restart(report, attempt)
            since = time.monotonic()

    async def _died(self) -> bool:
        """Wait for the end of the server, for a while."""
        assert self._pid is not None
        try:
            async with asyncio.timeout(TEND_SECONDS):
                await wait_for_exit(self._pid)
        except TimeoutError:
            return False
        return True

    async def _restart(self, report: Callable[[PostgresEvent], None], attempt: int) -> int:
        while not self._stopping.is_set():
            await asyncio.sleep(BACKOFF_SECONDS[min(attempt, len(BACKOFF_SECONDS) - 1)])
            attempt += 1
            try:
                await asyncio.to_thread(self._start)
            except PostgresFailure as failure:
                report(PostgresEvent("restart_failed", None, str(failure)))
                continue
            report(PostgresEvent("restarted", self._pid, f"at attempt {attempt}"))
            break
        return attempt

    async def _tend(self, report: Callable[[PostgresEvent], None]) -> None:
        try:
            await asyncio.to_thread(log_files.bound_log, self._log, self._options.log_bytes)
            await asyncio.to_thread(restore_alias, self._layout, self._sockets)
        except (OSError, PostgresFailure) as error:
            report(PostgresEvent("trouble", self._pid, str(error)))

    def _start(self) -> None:
        try:
            self._make_adopt_or_spawn()
        except OSError as error:
            raise PostgresFailure(
                f"PostgreSQL in {self._layout.folder} could not be started: {error.strerror or error}."
            ) from error

    def _make_adopt_or_spawn(self) -> None:
        account = server_account(self._layout.data)
        prepare(self._layout, account)
        with self._turn():
            account = server_account(self._layout.data)
            binaries = within_reach(find_binaries(), account, self._options.shared_folder)
            self._sockets = reachable_sockets(self._layout, self._options.runtime_folder)
            if self._stopping.is_set():
                return
            made = check_version(self._layout)
            older = None if made else find_older_data(self._layout)
            if older is not None:
                upgrade(older, self._layout, binaries, self._options, self._log)
                account = server_account(self._layout.data)
            elif not made:
                create_cluster(self._layout, binaries, account, self._options)
            if not self._adopt(binaries, account):
                self._spawn(binaries, account)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """One starter at a time, by a lock on the folder itself, which ends with its holder."""
        descriptor = os.open(self._layout.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _adopt(self, binaries: Binaries, account: Account | None) -> bool:
        """Take over the server that runs on our data, unless it was started from other programs than ours."""
        pid = postmaster.find_postmaster(self._layout)
        if pid is None:
            return False
        if postmaster.program_of(self._layout) != Path(binaries.program("postgres")).resolve():
            self._end(pid)
            return False
        if not self._comes_up(pid):
            if is_alive(pid):
                raise self._slow()
            return False
        write_configuration(self._layout.data, self._options, account)
        postmaster.send(pid, signal.SIGHUP)
        self.adopted = self._child is None or self._child.pid != pid
        self._pid = pid
        return True

    def _spawn(self, binaries: Binaries, account: Account | None) -> None:
        self._reap()
        write_configuration(self._layout.data, self._options, account)
        postmaster.clear_away(self._layout)
        log_files.bound_log(self._log, self._options.log_bytes)
        log = log_files.open_log(self._log)
        self._log_start = os.fstat(log).st_size
        try:
            argv = [binaries.program("postgres"), "-D", place(self._layout.data, account)]
            child = spawn(argv, self._layout.data, account, log)
        finally:
            os.close(log)
        self._child, self._pid, self.adopted = child, child.pid, False
        if not self._comes_up(child.pid):
            raise self._failure(child)

    def _comes_up(self, pid: int) -> bool:
        patience = self._options.start_timeout.total_seconds()
        return postmaster.wait_until_up(self._layout, pid, patience, self._stopping.is_set)

    def _slow(self) -> PostgresFailure:
        return PostgresFailure(
            "PostgreSQL runs but is not ready yet, perhaps because it recovers from a crash: "
            f"see {self._log} and start again later."
        )

    def _failure(self, child: "subprocess.Popen[bytes]") -> PostgresFailure:
        if child.poll() is None:
            return self._slow()
        words = self._last_words()
        if any(full in words for full in FULL):
            return PostgresFailure(
                f"PostgreSQL cannot start because the disk of {self._layout.folder} is full: free some space."
            )
        return PostgresFailure(f"PostgreSQL ended at its start ({words}): see {self._log}.")

    def _last_words(self) -> str:
        """The gravest of the last lines it wrote since its start."""
        with self._log.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(size - LAST_BYTES, self._log_start if self._log_start <= size else 0))
            lines = log.read().decode(errors="replace").splitlines()
        grave = [line for line in lines if "FATAL:" in line or "PANIC:" in line]
        return (grave or lines or ["nothing in its log"])[-1]

    def _stop(self) -> None:
        if not self._layout.data.exists():
            return
        with self._turn():
            pid = postmaster.find_postmaster(self._layout)
            if pid is not None:
                self._end(pid)
            self._reap()

    def _end(self, pid: int) -> None:
        """Fast shutdown ends sessions and writes a checkpoint.

        The harder ways leave recovery to the next start.
        """
        steps = (
            (signal.SIGINT, self._options.stop_timeout.total_seconds()),
            (signal.SIGQUIT, IMMEDIATE_SECONDS),
            (signal.SIGKILL, IMMEDIATE_SECONDS),
        )
        for step, patience in steps:
            postmaster.send(pid, step)
            if postmaster.wait_until_gone(pid, patience):
                return
        raise PostgresFailure(f"PostgreSQL (process {pid}) cannot be ended, it hangs in the kernel: see its disk.")

    def _reap(self) -> None:
        if self._child is not None and self._child.poll() is not None:
            self._child = None
