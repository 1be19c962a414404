"""Fail points are passed by what writes, before and after its commit, and are not there at all when off."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
from tests.support.spine import Spine

from workstation.domain.errors import Unavailable
from workstation.store.database import Database
from workstation.store.fail_points import FailPoints, parse

INSERT = "insert into agent_registry (name, type) values ($1, 'custom')"
COUNT = "select count(*) from agent_registry"


@asynccontextmanager
async def opened(dsn: str, points: str, chance: Callable[[], float] = lambda: 0.5) -> AsyncIterator[Database]:
    """A database of our own with these points."""
    database = await Database.connect(dsn, pool_size=2, fail_points=FailPoints(parse(points), chance))
    try:
        yield database
    finally:
        await database.close()


async def insert(database: Database, way: str, name: str) -> None:
    """Write one row as the server does: on a kept connection, on a pooled one, or in a transaction."""
    if way == "hot":
        await database.hot("submit").run(lambda c: c.execute(INSERT, name))  # type: ignore[arg-type,misc]
    elif way == "session":
        async with database.session("submit") as connection:
            await connection.fetchval(INSERT, name)
    else:
        async with database.transaction("submit") as connection, connection.transaction():
            await connection.fetch(INSERT, name)


@pytest.mark.parametrize("way", ["hot", "session", "transaction"])
@pytest.mark.parametrize(("side", "kept"), [("before_commit", 0), ("after_commit", 1)])
async def test_a_cut_before_the_commit_leaves_nothing_and_one_after_it_everything(
    spine: Spine, way: str, side: str, kept: int
) -> None:
    async with opened(spine.dsn, f"submit.{side}=cut") as database:
        with pytest.raises(Unavailable):
            await insert(database, way, "a")
        assert await spine.value(COUNT) == kept
        await insert(database, way, "b")
        assert await spine.value(COUNT) == kept + 1


async def test_what_only_reads_passes_no_point(spine: Spine) -> None:
    async with opened(spine.dsn, "submit.before_commit=cut;submit.after_commit=cut") as database:
        hot = database.hot("submit")
        assert await hot.run(lambda c: c.fetchval(COUNT)) == 0  # type: ignore[arg-type,misc]
        await hot.run(lambda c: c.fetch("select nextval('agent_tasks_id_seq')"))  # type: ignore[arg-type,misc]
        async with database.transaction("submit") as connection:
            await connection.fetchrow(COUNT)


async def test_a_write_of_another_name_passes_no_point(spine: Spine) -> None:
    async with opened(spine.dsn, "submit.after_commit=cut") as database:
        await database.hot("claim").run(lambda c: c.execute(INSERT, "a"))  # type: ignore[arg-type,misc]
        async with database.session() as connection:
            await connection.execute(INSERT, "b")
        async with database.transaction("cancel") as connection:
            await connection.execute(INSERT, "c")
    assert await spine.value(COUNT) == 3


async def test_a_pooled_connection_forgets_what_it_was_used_for(spine: Spine) -> None:
    async with opened(spine.dsn, "submit.after_commit=cut@2") as database:
        for n in range(5):
            await insert(database, "session", f"named {n}") if n == 0 else await _insert_unnamed(database, n)
    assert await spine.value(COUNT) == 5


async def _insert_unnamed(database: Database, n: int) -> None:
    async with database.session() as connection:
        await connection.execute(INSERT, f"unnamed {n}")


async def test_a_point_acts_on_the_pass_it_names_and_no_other(spine: Spine) -> None:
    async with opened(spine.dsn, "submit.before_commit=cut@3") as database:
        outcomes = await _outcomes(database, 5)
    assert outcomes == [True, True, False, True, True]


async def test_a_point_acts_with_the_chance_it_names(spine: Spine) -> None:
    chances = iter([0.09, 0.1, 0.5, 0.0])
    async with opened(spine.dsn, "submit.before_commit=cut@10%", lambda: next(chances)) as database:
        outcomes = await _outcomes(database, 4)
    assert outcomes == [False, True, True, False]


async def _outcomes(database: Database, n: int) -> list[bool]:
    outcomes = []
    for i in range(n):
        try:
            await insert(database, "transaction", f"agent {i}")
        except Unavailable:
            outcomes.append(False)
        else:
            outcomes.append(True)
    return outcomes


async def test_a_pause_stalls_the_write_and_nothing_else(spine: Spine) -> None:
    async with opened(spine.dsn, "submit.before_commit=pause:2") as database:
        began = time.monotonic()
        stalled = asyncio.create_task(insert(database, "session", "a"))
        await insert(database, "hot", "b")
        assert not stalled.done()
        await stalled
        assert time.monotonic() - began >= 2
    assert await spine.value(COUNT) == 2


async def test_when_off_connections_are_the_drivers_own(spine: Spine) -> None:
    async def kind(connection: Any) -> type:
        return type(connection)

    assert await spine.database.hot("submit").run(kind) is asyncpg.Connection
    async with spine.database.session("submit") as connection:
        assert type(connection._con) is asyncpg.Connection  # type: ignore[union-attr]


async def test_a_kept_connection_no_point_concerns_is_the_drivers_own(spine: Spine) -> None:
    async def kind(connection: Any) -> type:
        return type(connection)

    async with opened(spine.dsn, "submit.after_commit=cut") as database:
        assert await database.hot("claim").run(kind) is asyncpg.Connection
        assert await database.hot("submit").run(kind) is not asyncpg.Connection
