"""Partitions by day of what only grows: attempts and events. Made ahead of time, dropped when past it."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import asyncpg

from workstation.store.database import Connection
from workstation.store.statements import load

_SQL = load("history")
_DEFAULTS: Final = {"task_attempts": "prune_default_attempts", "events": "prune_default_events"}


async def make_partitions(connection: Connection, *, days_ahead: int) -> None:
    """Make today's partition and those of the next days where they are missing.

    A day whose rows have already gone to the default partition is left there.
    """
    await connection.execute(_SQL["make_partitions"].replace("$1", str(int(days_ahead))))


async def drop_partitions(connection: Connection, table: str, older_than: timedelta) -> None:
    """Drop the partitions of days that ended longer ago than this.

    One that is in use just now stays for the next time: whoever waits for its lock holds up all who come after.
    """
    if table not in _DEFAULTS:
        raise ValueError(f"{table} has no partitions by day.")
    for row in await connection.fetch(_SQL["list_expired"], table, older_than):
        try:
            async with connection.transaction():
                await connection.execute(_SQL["wait_briefly"])
                await connection.execute(f'drop table "{row["name"]}"')
        except asyncpg.LockNotAvailableError:
            return


async def prune_default(connection: Connection, table: str, older_than: timedelta, limit: int) -> int:
    """Delete rows of the default partition that are older than this; returns how many."""
    if table not in _DEFAULTS:
        raise ValueError(f"{table} has no partitions by day.")
    tag = await connection.execute(_SQL[_DEFAULTS[table]], older_than, limit)
    return int(tag.rsplit(" ", 1)[-1])
