"""The schema comes up to date once, whoever starts first, and never runs backwards."""

import asyncio

import pytest
from tests.support.spine import Spine

from workstation.domain.errors import Refusal
from workstation.store.database import Database
from workstation.store.migrate import is_current, migrate, migrations


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


async def test_a_database_of_a_newer_version_is_refused(spine: Spine) -> None:
    await spine.execute("insert into schema_migrations (number, name, checksum) values (9999, 'future', '')")
    try:
        with pytest.raises(Refusal, match="newer"):
            await migrate(spine.database)
    finally:
        await spine.execute("delete from schema_migrations where number = 9999")


def test_migrations_are_numbered_without_gaps() -> None:
    assert [m.number for m in migrations()] == list(range(1, len(migrations()) + 1))
