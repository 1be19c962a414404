"""The schema comes up to date once, whoever starts first, and never runs backwards."""

import asyncio
import re
import time
from collections.abc import AsyncIterator

import pytest
from tests.support.spine import Spine

from workstation.domain.errors import Refusal
from workstation.store.database import Database
from workstation.store.migrate import Migration, is_current, migrate, migrations


async def test_several_starters_at_once_apply_each_migration_once(database: str) -> None:
    opened = await asyncio.gather(*(Database.connect(database, pool_size=2) for _ in range(3)))
    try:
        applied = await asyncio.gather(*(migrate(each) for each in opened))
        assert sorted(m.number for each in applied for m in each) == [m.number for m in migrations()]
        async with opened[0].session() as connection:
            assert await is_current(connection)
    finally:
        for each in opened:
            await each.close()


async def test_a_current_database_is_left_alone(spine: Spine) -> None:
    assert await migrate(spine.database) == []


@pytest.fixture
async def made(database: str) -> AsyncIterator[Database]:
    """A database of its own with the current schema."""
    opened = await Database.connect(database, pool_size=3)
    await migrate(opened)
    yield opened
    await opened.close()


async def newer(database: Database, oldest: int | None) -> None:
    """A newer replica has been here."""
    async with database.session() as connection:
        await connection.execute(
            "insert into schema_migrations (number, name, checksum, oldest) values (9999, 'future', '', $1)", oldest
        )


async def test_a_newer_schema_that_was_made_for_this_program_too_is_worked_with(made: Database) -> None:
    await newer(made, migrations()[-1].number)
    assert await migrate(made) == []
    async with made.session() as connection:
        assert await is_current(connection)


@pytest.mark.parametrize("oldest", [None, migrations()[-1].number + 1])
async def test_a_newer_schema_that_this_program_does_not_understand_is_refused(
    made: Database, oldest: int | None
) -> None:
    await newer(made, oldest)
    with pytest.raises(
        Refusal, match=r"a newer version of Workstation \(its schema is number 9999.*start that version"
    ):
        await migrate(made)


async def test_a_migration_that_has_to_wait_lets_those_who_work_go_on(
    made: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who waits for a table makes everybody wait who comes after: so nobody waits there for long."""
    added = Migration(9998, "wider", "alter table agent_tasks add column wider integer")
    monkeypatch.setattr("workstation.store.migrate.migrations", lambda: [*migrations(), added])
    async with made.transaction() as holder:
        await holder.execute("select count(*) from agent_tasks")
        upgrading = asyncio.create_task(migrate(made))
        slowest = 0.0
        for _ in range(12):
            async with made.session() as worker:
                began = time.monotonic()
                await worker.execute("update agent_tasks set priority = 1 where id = 1")
                slowest = max(slowest, time.monotonic() - began)
            await holder.execute("select 1")
            await asyncio.sleep(0.15)
        assert not upgrading.done()
    assert await asyncio.wait_for(upgrading, 10) == [added]
    assert slowest < 1.4, "a statement of a replica was held up for longer than its deadline"


def test_migrations_are_numbered_without_gaps() -> None:
    assert [m.number for m in migrations()] == list(range(1, len(migrations()) + 1))


# What a program that does not know of the change trips over: it names the column, or does not fill the new one.
TRIPS = re.compile(
    r"\b(drop\s+(table|column|view|function)|rename\s+(to|column)|alter\s+column\s+\w+\s+(type|set\s+not\s+null|"
    r"set\s+data)|add\s+column\s+(?!.*\bdefault\b)[^,;]*\bnot\s+null)",
    re.IGNORECASE,
)


def test_a_migration_that_older_replicas_live_through_takes_nothing_away() -> None:
    for migration in migrations()[1:]:
        assert migration.oldest <= migration.number
        statements = re.sub(r"--.*", "", migration.text)
        if migration.oldest < migration.number:
            found = TRIPS.search(statements)
            assert found is None, f"{migration.name}: {found and found[0]}"


@pytest.mark.parametrize(
    "text",
    [
        "alter table a drop column b",
        "alter table a rename column b to c",
        "alter table a alter column b type bigint",
        "alter table a alter column b set not null",
        "alter table a add column b integer not null",
        "drop table a",
    ],
)
def test_what_older_replicas_trip_over_is_recognised(text: str) -> None:
    assert TRIPS.search(text)


def test_what_they_do_not_trip_over_is_let_through() -> None:
    assert not TRIPS.search("alter table a add column b integer not null default 0, add column c text")


def test_every_migration_that_ships_says_which_program_it_needs() -> None:
    # Forgotten, the line would keep older replicas from starting for no reason.
    assert [m.name for m in migrations()[1:] if "\n-- oldest: " not in m.text] == []


def test_a_migration_says_which_program_it_needs() -> None:
    assert Migration(7, "x", "-- what it does\n-- oldest: 5\nselect 1").oldest == 5
    assert Migration(7, "x", "select 1").oldest == 7
