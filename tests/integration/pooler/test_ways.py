"""A pooler is recognized by itself, and what is asked through it leaves no trace and needs no session."""

import asyncio
from typing import Any

import pytest
from tests.support.pgbouncer import PgBouncer
from tests.support.waiting import until

from workstation.domain.errors import Unavailable
from workstation.store.database import Database
from workstation.store.migrate import migrate


async def test_a_pooler_is_told_from_the_database_itself(pooled: str, direct: str) -> None:
    for dsn, is_pooled in ((pooled, True), (direct, False)):
        database = await Database.connect(dsn, pool_size=1)
        assert (database.pooled, database.can_listen) == (is_pooled, not is_pooled)
        await database.close()


async def test_with_a_direct_address_there_is_a_way_to_listen(pooled: str, direct: str) -> None:
    database = await Database.connect(pooled, pool_size=1, direct_dsn=direct)
    heard: list[str] = []
    connection = await database.listen("c", heard.append, lambda: None)
    async with database.session() as asking:
        await asking.execute("notify c, 'x'")
    await until(lambda: _is(heard == ["x"]), within=5)
    connection.terminate()
    await database.close()


async def test_a_direct_address_that_leads_to_a_pooler_too_is_none(pooled: str) -> None:
    database = await Database.connect(pooled, pool_size=1, direct_dsn=pooled)
    assert not database.can_listen
    await database.close()


async def test_statements_of_many_connections_share_two_backends(pooled: str) -> None:
    database = await Database.connect(pooled, pool_size=8)
    await migrate(database)
    kept = [database.hot(f"h{number}") for number in range(5)]

    async def ask(connection: Any) -> int:
        async with connection.transaction():
            await connection.fetchval("select pg_sleep($1)", 0.001)
            return int(await connection.fetchval("select $1::int + count(*)::int from agent_tasks", 1))

    async def pool() -> int:
        async with database.transaction() as connection:
            return await ask(connection)

    for _ in range(20):
        answers = await asyncio.gather(*(hot.run(ask) for hot in kept), *(pool() for _ in range(8)))
        assert answers == [1] * 13
    async with database.session() as connection:
        backends = await connection.fetchval(
            "select count(*) from pg_stat_activity where datname = current_database() and usename is not null"
        )
        assert backends <= 2
        assert await connection.fetchval("select count(*) from pg_prepared_statements") == 0
        assert await connection.fetchval("select current_setting('enable_seqscan')") == "on"
        assert await connection.fetchval("select current_setting('plan_cache_mode')") == "auto"
        assert await connection.fetchval("select count(*) from pg_locks where locktype = 'advisory'") == 0
    await database.close()


async def test_a_killed_pooler_is_an_outage_and_then_all_works_again(pooler: PgBouncer, pooled: str) -> None:
    database = await Database.connect(pooled, pool_size=2)
    hot = database.hot("h")

    async def ask(connection: Any) -> int:
        return int(await connection.fetchval("select $1::int", 7))

    assert await hot.run(ask) == 7
    pooler.kill()
    with pytest.raises(Unavailable):
        await hot.run(ask)
    with pytest.raises(Unavailable):
        async with database.session() as connection:
            await ask(connection)
    pooler.start()
    assert await hot.run(ask) == 7
    async with database.session() as connection:
        assert await ask(connection) == 7
    assert database.openings() == {"h": 1}
    await database.close()


async def _is(value: bool) -> bool:
    return value
