"""Partitions by day of what only grows: attempts and events. Made ahead of time, dropped when past it."""

from __future__ import annotations

from datetime import timedelta

import asyncpg

from workstation.store.database import Connection, affected
from workstation.store.statements import load

_SQL = load("history")


async def make_partitions(connection: Connection, *, days_ahead: int) -> None:
    """Make today's partition and those of the next days where they are missing.

    A day whose rows have already gone to the default partition is left there.
    """
    await connection.execute(_SQL["make_partitions"].replace("$1", str(int(days_ahead))))


async def drop_partitions(connection: Connection, table: str, older_than: timedelta) -> None:
    """Drop the partitions of days that ended longer ago than this.

    What is in use just now stays for the next time: whoever waits for its lock holds up all who come after.
    """
    if table not in ("task_attempts", "events"):
        raise ValueError(f"{table} has no partitions by day.")
    try:
        async with connection.transaction():
            # Another replica may be doing the same: the second one finds them gone.
            await connection.execute(_SQL["lock_partitions"])
            await connection.execute(_SQL["wait_briefly"])
            for row in await connection.fetch(_SQL["list_expired"], table, older_than):
                await connection.execute(f'drop table "{row["name"]}"')
    except asyncpg.LockNotAvailableError:
        return


async def prune_default(connection: Connection, table: str, limit: int, older_than: timedelta) -> int:
    """Delete what is older than this from the partition of rows that have no other; returns how many."""
    name = {"task_attempts": "prune_attempts", "events": "prune_events"}[table]
    return affected(await connection.execute(_SQL[name], limit, older_than))
