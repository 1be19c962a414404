"""Connections: a pool for what is asked now and then, kept connections for what runs all the time.

Every call has a deadline, and every failure of the driver leaves this module as one of three things: Unavailable (the
database is away, or what it did is unknown), DataRefused (it will not take this data) or a bug.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from typing import Final, TypeAlias, TypeVar, cast

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from workstation.domain.errors import Refusal, Unavailable
from workstation.store.fail_points import FailPoints, PointedConnection, connection_class
from workstation.store.waits import Openings, PoolUse, PoolWatch
from workstation.store.ways import Way, find_way
from workstation.telemetry import clock

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"
Row: TypeAlias = asyncpg.Record
T = TypeVar("T")

HOT_DEADLINE: Final = timedelta(seconds=1.5)
COLD_DEADLINE: Final = timedelta(seconds=10)
CONNECT_DEADLINE: Final = timedelta(seconds=1.5)
_RETRIES_AFTER_DEADLOCK: Final = 5

_CUT_OFF = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.InternalClientError,
)
# Too deep or too wide is a matter of the data as well.
_REFUSED = (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError, asyncpg.ProgramLimitExceededError)
_CLASHED = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)


def affected(tag: object) -> int:
    """How many rows a statement changed, from its command tag (`DELETE 7`)."""
    return int(str(tag).rsplit(" ", 1)[-1])


class DataRefused(Exception):
    """The database will not take this data; constraint names the rule where there is one."""

    def __init__(self, message: str, constraint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.constraint = constraint


@contextmanager
def translated() -> Iterator[None]:
    """Turn what the driver raises into Unavailable or DataRefused."""
    try:
        yield
    except _REFUSED as error:
        raise DataRefused(str(error), getattr(error, "constraint_name", None)) from error
    except _CUT_OFF as error:
        raise Unavailable("The database cannot be reached now; try again in a moment.") from error


class Database:
    """The way to one PostgreSQL database. Made by connect(), closed by close()."""

    def __init__(
        self,
        way: Way,
        ear: Way | None,
        pool: asyncpg.Pool[asyncpg.Record],
        size: int,
        fail_points: FailPoints | None = None,
    ) -> None:
        self._way = way
        self._ear = ear
        self._pool = pool
        self._watch = PoolWatch(size, clock.monotonic)
        self._fail_points = fail_points
        self._hot: list[HotConnection] = []

    @classmethod
    async def connect(
        cls, dsn: str, *, pool_size: int = 8, direct_dsn: str | None = None, fail_points: FailPoints | None = None
    ) -> Database:
        """Open the pool; raises Unavailable when the database does not answer.

        direct_dsn leads to the same database past a pooler that stands at dsn. fail_points are for tests alone.
        """
        with translated():
            way = await find_way(dsn, CONNECT_DEADLINE.total_seconds())
            direct = way if direct_dsn is None else await find_way(direct_dsn, CONNECT_DEADLINE.total_seconds())
            pool = await asyncpg.create_pool(
                dsn,
                min_size=1,
                max_size=pool_size,
                timeout=CONNECT_DEADLINE.total_seconds(),
                command_timeout=COLD_DEADLINE.total_seconds(),
                max_inactive_connection_lifetime=60,
                connection_class=connection_class(fail_points),
                **way.pool_options(),
            )
        return cls(way, None if direct.pooled else direct, pool, pool_size, fail_points)

    @property
    def pooled(self) -> bool:
        """Whether a pooler stands in front of the database."""
        return self._way.pooled

    @property
    def can_listen(self) -> bool:
        """Whether there is a way on which notifications come."""
        return self._ear is not None

    @property
    def pool_use(self) -> PoolUse:
        """How the pool fares."""
        return self._watch.use()

    def openings(self) -> dict[str, int]:
        """How often each kept connection was opened again in the last ten minutes, by name."""
        return {connection.name: connection.openings.again() for connection in self._hot}

    @asynccontextmanager
    async def session(self, write: str | None = None) -> AsyncIterator[Connection]:
        """A pooled connection for a few statements; waits at most 1.5 s for one that answers.

        write names what its commits are for, where it writes.
        """
        deadline = asyncio.get_running_loop().time() + CONNECT_DEADLINE.total_seconds()
        try:
            with translated():
                async with self._acquired() as connection:
                    await _answer_by(connection, deadline)
                    if self._fail_points is not None:
                        cast("PointedConnection", connection).used_for(write)
                    yield connection
        except _CLASHED as error:
            raise Unavailable("The database was busy with the same rows; try again in a moment.") from error

    @asynccontextmanager
    async def _acquired(self) -> AsyncIterator[Connection]:
        asked_at = self._watch.asked()
        try:
            connection = await self._pool.acquire(timeout=CONNECT_DEADLINE.total_seconds())
        except BaseException:
            self._watch.given_up(asked_at)
            raise
        self._watch.got(asked_at)
        try:
            yield connection
        finally:
            try:
                await self._pool.release(connection)
            finally:
                self._watch.gave_back()

    @asynccontextmanager
    async def transaction(self, write: str | None = None) -> AsyncIterator[Connection]:
        """A pooled connection inside one transaction, committed at the end of the block; write names what it is for."""
        async with self.session(write) as connection, connection.transaction():
            yield connection

    def hot(self, name: str) -> HotConnection:
        """A kept connection with pinned plans, for statements of one kind that run one after the other."""
        connection = HotConnection(self._way, name, connection_class(self._fail_points, name))
        self._hot.append(connection)
        return connection

    @property
    def most_connections(self) -> int:
        """How many connections this may hold at once: the pool, the kept ones and the one that listens."""
        return self._pool.get_max_size() + len(self._hot) + 1

    async def listen(
        self, channel: str, heard: Callable[[str], None], lost: Callable[[], None]
    ) -> asyncpg.Connection[asyncpg.Record]:
        """A connection of its own that calls heard(payload) for each notification, and lost() when it ends.

        Only where can_listen.
        """
        assert self._ear is not None
        with translated():
            connection: asyncpg.Connection[asyncpg.Record] = await asyncpg.connect(
                self._ear.dsn, timeout=CONNECT_DEADLINE.total_seconds(), **self._ear.options()
            )
            await connection.add_listener(channel, lambda _c, _pid, _channel, payload: heard(str(payload)))
            connection.add_termination_listener(lambda _connection: lost())
        return connection

    async def close(self) -> None:
        """Close every connection; what is under way is cut off after a second."""
        for connection in self._hot:
            await connection.close()
        try:
            await asyncio.wait_for(self._pool.close(), 1)
        except TimeoutError:
            self._pool.terminate()


async def _answer_by(connection: Connection, deadline: float) -> None:
    """Find out now whether the database hangs, not after the long deadline of a statement."""
    try:
        async with asyncio.timeout_at(deadline):
            await connection.execute("select")
    except TimeoutError:
        # Giving it back as it is would mean to wait for it once more.
        connection.terminate()
        raise


class HotConnection:
    """One kept connection, opened when first needed and again after it was lost. Not for concurrent use."""

    def __init__(
        self, way: Way, name: str, made_as: type[asyncpg.Connection[asyncpg.Record]] = asyncpg.Connection
    ) -> None:
        self.name = name
        self.openings = Openings(clock.monotonic)
        self._way = way
        self._made_as = made_as
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None

    async def run(self, work: Callable[[Connection], Awaitable[T]], *, repeat: bool = False) -> T:
        """Run work(connection) within the deadline, connecting and repeating included; deadlocks are retried.

        Unavailable means that the connection was lost or the deadline passed: what was sent may have been done or not.
        With repeat, work is done once more on a new connection first: only for what may be done twice.
        """
        with translated():
            async with asyncio.timeout(HOT_DEADLINE.total_seconds()):
                try:
                    return await self._run(work)
                except Unavailable:
                    if not repeat:
                        raise
                    return await self._run(work)

    async def _run(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        for tries_left in reversed(range(_RETRIES_AFTER_DEADLOCK)):
            connection = await self._open()
            try:
                with translated():
                    return await work(connection)
            except _CLASHED:
                if tries_left == 0:
                    raise
            except (Refusal, DataRefused) as error:
                if isinstance(error, Unavailable):
                    self._drop()
                raise
            except BaseException:
                self._drop()
                raise
        raise AssertionError("the last try returns or raises")

    async def _open(self) -> asyncpg.Connection[asyncpg.Record]:
        if self._connection is None or self._connection.is_closed():
            with translated():
                opened: asyncpg.Connection[asyncpg.Record] = await asyncpg.connect(
                    self._way.dsn,
                    timeout=CONNECT_DEADLINE.total_seconds(),
                    command_timeout=HOT_DEADLINE.total_seconds(),
                    connection_class=self._made_as,
                    **self._way.hot_options(self.name),
                )
            self._connection = opened
            self.openings.opened()
        return self._connection

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    async def close(self) -> None:
        """Close the connection; what is under way is cut off."""
        self._drop()
