"""Partitions by day: made ahead, dropped behind, and never in the way of rows that are there already."""

from datetime import UTC, datetime, timedelta

import pytest
from tests.support.spine import Spine, new

from workstation.store import history

TABLES = ("task_attempts", "events")


@pytest.fixture(autouse=True)
async def without_partitions(spine: Spine) -> None:
    """Whatever an earlier test made is gone."""
    for name in await partitions(spine):
        await spine.execute(f"drop table {name}")


async def partitions(spine: Spine, table: str | None = None) -> list[str]:
    rows = await spine.fetch(
        "select inhrelid::regclass::text as name, inhparent::regclass::text as parent from pg_inherits order by 1"
    )
    wanted = TABLES if table is None else (table,)
    return [row["name"] for row in rows if row["parent"] in wanted and not row["name"].endswith("_default")]


def names(table: str, first: int, last: int) -> list[str]:
    today = datetime.now(UTC)
    return [f"{table}_{today + timedelta(days=n):%Y%m%d}" for n in range(first, last + 1)]


async def make(spine: Spine, days_ahead: int = 3) -> None:
    async with spine.database.session() as connection:
        await history.make_partitions(connection, days_ahead=days_ahead)


async def drop(spine: Spine, table: str, older_than: timedelta) -> None:
    async with spine.database.session() as connection:
        await history.drop_partitions(connection, table, older_than)


async def test_today_and_the_next_days_are_made_and_used(spine: Spine) -> None:
    await make(spine)
    await make(spine)
    for table in TABLES:
        assert await partitions(spine, table) == names(table, 0, 3)
    agent = await spine.agent()
    await spine.submit(new(agent))
    (claim,) = await spine.claim(await spine.instance(agent))
    await spine.settle(claim)
    for table in TABLES:
        assert await spine.value(f"select count(*) from only {table}_default") == 0
        assert await spine.value(f"select count(*) from {names(table, 0, 0)[0]}") > 0


async def test_a_day_that_is_in_the_default_partition_already_stays_there(spine: Spine) -> None:
    agent = await spine.agent()
    await spine.submit(new(agent))
    await make(spine)
    assert await partitions(spine, "events") == names("events", 1, 3)
    assert await partitions(spine, "task_attempts") == names("task_attempts", 0, 3)
    await spine.submit(new(agent))
    assert await spine.value("select count(*) from events where type = 'task.created'") == 2


async def test_what_is_past_its_time_is_dropped_and_nothing_else(spine: Spine) -> None:
    await make(spine)
    for day in (-9, -8, -7, -6):
        start = (datetime.now(UTC) + timedelta(days=day)).date()
        await spine.execute(
            f"create table events_{start:%Y%m%d} partition of events"
            f" for values from ('{start}') to ('{start + timedelta(days=1)}')"
        )
    await drop(spine, "events", timedelta(days=7))
    assert await partitions(spine, "events") == names("events", -7, -6) + names("events", 0, 3)
    assert await partitions(spine, "task_attempts") == names("task_attempts", 0, 3)


async def test_other_tables_have_no_partitions_to_drop(spine: Spine) -> None:
    with pytest.raises(ValueError, match="agent_tasks"):
        await drop(spine, "agent_tasks", timedelta())
