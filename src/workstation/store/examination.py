"""What silently hurts a queue, as the database tells it: one function for each statement of sql/examination.sql."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

from workstation.store.database import Connection, Row
from workstation.store.statements import load

_SQL = load("examination")
_TASKS_SQL = load("tasks")


async def clock(connection: Connection) -> datetime:
    """What the database's clock says."""
    now = await connection.fetchval(_SQL["clock"])
    assert isinstance(now, datetime)
    return now


async def old_snapshots(connection: Connection, older_than: timedelta) -> list[Row]:
    """Transactions that have kept rows from being cleaned up for so long, oldest first; five at most."""
    return await connection.fetch(_SQL["old_snapshots"], older_than)


async def prepared_transactions(connection: Connection, older_than: timedelta) -> list[Row]:
    """Prepared transactions that nobody has ended for so long, oldest first; five at most."""
    return await connection.fetch(_SQL["prepared_transactions"], older_than)


async def idle_slots(connection: Connection) -> list[Row]:
    """Replication slots that nobody reads and that keep something; five at most."""
    return await connection.fetch(_SQL["idle_slots"])


async def dead_rows(connection: Connection) -> list[Row]:
    """Every table of ours with its dead rows, beside what autovacuum waits for."""
    return await connection.fetch(_SQL["dead_rows"])


async def connections(connection: Connection) -> tuple[int, int]:
    """How many connections the database has open, and how many ordinary users may open."""
    row = await connection.fetchrow(_SQL["connections"])
    assert row is not None
    return row["open"], row["most"]


async def default_partitions(connection: Connection) -> list[Row]:
    """The tables with partitions by day: rows that found no partition (1,001 at most), whether tomorrow has one."""
    return await connection.fetch(_SQL["default_partitions"])


async def oldest_in_lanes(connection: Connection, due_for: timedelta) -> list[Row]:
    """The oldest task of each lane that has been due for so long, oldest first; five at most."""
    return await connection.fetch(_SQL["oldest_in_lanes"], due_for)


async def dead_letters(connection: Connection) -> Row:
    """Of the newest 10,000 dead letters: how many, how many of the last hour, and their most frequent type."""
    row = await connection.fetchrow(_SQL["dead_letters"])
    assert row is not None
    return row


async def late_instances(connection: Connection, lease: timedelta, left: timedelta) -> list[Row]:
    """Instances with less than `left` of their lease: how long they were not heard; five at most."""
    return await connection.fetch(_SQL["late_instances"], lease, left)


async def nodes(connection: Connection) -> list[Row]:
    """Every replica that has not left in order, the gone ones for a day."""
    return await connection.fetch(_SQL["nodes"])


async def pages_of_a_look(connection: Connection) -> tuple[int, int]:
    """A look for lanes with work, as every poll makes it: how many it found, and the pages it read."""
    plan: list[dict[str, Any]] = json.loads(
        await connection.fetchval(
            f"explain (analyze, buffers, timing off, format json) {_TASKS_SQL['lanes_with_work']}"
        )
    )
    top = plan[0]["Plan"]
    return int(top["Actual Rows"]), int(top["Shared Hit Blocks"] + top["Shared Read Blocks"])
