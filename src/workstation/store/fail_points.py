"""Fail points: what a test makes happen right before and right after the commit of a write. Off: nothing of this runs.

A pass of a point is a transaction that wrote something, or a statement of its own that did.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NoReturn

import asyncpg
import structlog
from asyncpg.transaction import Transaction

from workstation.store.statements import load

WRITES: Final = (
    # The queue.
    *("submit", "claim", "complete", "settle", "progress", "cancel", "redrive"),
    # Instances, and what is taken back from them.
    *("hello", "lease", "drain", "goodbye", "health", "reap"),
    # Agents, their orders and their starts.
    *("agent", "order", "launch"),
    # The rest of the house.
    *("node", "token", "audit", "fold", "tidy", "partition", "migrate", "restore"),
)
SIDES: Final = ("before_commit", "after_commit")
_ACTION: Final = re.compile(
    r"(?P<kind>kill|cut|pause:(?P<seconds>\d+(\.\d+)?))(@((?P<on>[1-9]\d*)|(?P<percent>\d+(\.\d+)?)%))?"
)
_SQL = load("fail_points")
_log = structlog.get_logger(__name__)

if TYPE_CHECKING:
    Base = asyncpg.Connection[asyncpg.Record]
else:
    Base = asyncpg.Connection


@dataclass(frozen=True, slots=True)
class FailPoint:
    """What happens at one point: kill ends this process, cut drops the connection, pause stalls this write alone.

    It happens on one pass, counted from 1, or on each with a chance from 0 to 1 where there is one.
    """

    write: str
    side: str
    action: str
    seconds: float = 0.0
    on_pass: int = 1
    chance: float | None = None


def parse(text: str) -> tuple[FailPoint, ...]:
    """Read `write.side=action`, separated by semicolons; raises ValueError with one sentence about what is wrong."""
    return tuple(_parse_one(part.strip()) for part in text.split(";") if part.strip())


def _parse_one(part: str) -> FailPoint:
    name, _, action = part.partition("=")
    write, _, side = name.partition(".")
    if write not in WRITES or side not in SIDES:
        raise ValueError(
            f"there is no fail point {name!r}; a point is one of {', '.join(WRITES)}, "
            f"followed by .{SIDES[0]} or .{SIDES[1]}"
        )
    found = _ACTION.fullmatch(action)
    if found is None:
        raise ValueError(
            f"there is no action {action!r}; an action is kill, cut or pause:SECONDS, "
            "on the first pass, or with @N on the Nth, or with @P% on so many of a hundred"
        )
    percent = found["percent"]
    return FailPoint(
        write,
        side,
        found["kind"].partition(":")[0],
        float(found["seconds"] or 0),
        int(found["on"] or 1),
        None if percent is None else float(percent) / 100,
    )


class FailPoints:
    """The points of one process: counts their passes and does what they say."""

    def __init__(self, points: Sequence[FailPoint], chance: Callable[[], float]) -> None:
        self._points = tuple(points)
        self._chance = chance
        self._passes: Counter[tuple[str, str]] = Counter()

    def knows(self, write: str) -> bool:
        """Whether anything may happen at this write."""
        return any(point.write == write for point in self._points)

    async def passed(self, connection: PointedConnection, write: str, side: str) -> None:
        """One pass; raises ConnectionResetError after a cut."""
        self._passes[write, side] += 1
        for point in self._points:
            if (point.write, point.side) == (write, side) and self._is_due(point):
                _log.warning("fail_point", point=f"{write}.{side}", action=point.action)
                await _act(point, connection)

    def _is_due(self, point: FailPoint) -> bool:
        if point.chance is not None:
            return self._chance() < point.chance
        return self._passes[point.write, point.side] == point.on_pass


async def _act(point: FailPoint, connection: PointedConnection) -> None:
    if point.action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif point.action == "pause":
        await asyncio.sleep(point.seconds)
    else:
        _cut(connection)


def _cut(connection: PointedConnection) -> NoReturn:
    connection.terminate()
    raise ConnectionResetError("A fail point cut the connection.")


def connection_class(points: FailPoints | None, write: str | None = None) -> type[Base]:
    """The class to connect with: the driver's own where nothing is to happen; write is known for kept connections."""
    if points is None or (write is not None and not points.knows(write)):
        return asyncpg.Connection
    return type("PointedConnection", (PointedConnection,), {"points": points, "write": write})


class PointedConnection(Base):
    """A connection that passes the points of the write it is used for."""

    points: FailPoints
    write: str | None = None
    in_transaction: bool = False

    def used_for(self, write: str | None) -> None:
        """From now on it is used for this write, or for reads alone."""
        self.write = write if write is not None and self.points.knows(write) else None

    async def has_written(self) -> bool:
        """Whether the transaction under way changed any table; a number taken from a sequence does not count."""
        return bool(await super().fetchval(_SQL["has_written"]))

    def _stands_alone(self) -> bool:
        return self.write is not None and not self.in_transaction

    def transaction(self, **options: Any) -> Transaction:
        """A transaction that passes the points at its end."""
        if not self._stands_alone():
            return super().transaction(**options)
        return _PointedTransaction(self, options.get("isolation"), False, False)

    async def reset(self, *, timeout: float | None = None) -> None:
        """Back to the pool."""
        self.used_for(None)
        await super().reset(timeout=timeout)

    async def execute(self, query: str, *args: object, timeout: float | None = None) -> str:
        """As the driver's; on its own it is a transaction."""
        if not self._stands_alone():
            return await super().execute(query, *args, timeout=timeout)
        async with self.transaction():
            return await super().execute(query, *args, timeout=timeout)

    async def fetch(self, query: str, *args: object, **options: Any) -> Any:
        """As the driver's; on its own it is a transaction."""
        if not self._stands_alone():
            return await super().fetch(query, *args, **options)
        async with self.transaction():
            return await super().fetch(query, *args, **options)

    async def fetchrow(self, query: str, *args: object, **options: Any) -> Any:
        """As the driver's; on its own it is a transaction."""
        if not self._stands_alone():
            return await super().fetchrow(query, *args, **options)
        async with self.transaction():
            return await super().fetchrow(query, *args, **options)

    async def fetchval(self, query: str, *args: object, **options: Any) -> Any:
        """As the driver's; on its own it is a transaction."""
        if not self._stands_alone():
            return await super().fetchval(query, *args, **options)
        async with self.transaction():
            return await super().fetchval(query, *args, **options)


class _PointedTransaction(Transaction):
    def __init__(self, connection: PointedConnection, *options: Any) -> None:
        super().__init__(connection, *options)
        self._pointed = connection

    async def __aenter__(self) -> None:
        self._pointed.in_transaction = True
        try:
            await super().__aenter__()
        except BaseException:
            self._pointed.in_transaction = False
            raise

    async def __aexit__(self, kind: object, error: object, trace: object) -> None:
        connection, write = self._pointed, self._pointed.write
        try:
            if kind is None and write is not None and await connection.has_written():
                await connection.points.passed(connection, write, "before_commit")
                await super().__aexit__(kind, error, trace)
                await connection.points.passed(connection, write, "after_commit")
            else:
                await super().__aexit__(kind, error, trace)
        finally:
            connection.in_transaction = False
