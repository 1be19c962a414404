"""What the driver raises becomes one of three things; deadlocks are retried; lost connections are opened again."""

import asyncio
import time
from typing import Any

import pytest
from tests.support.spine import Spine, until

from workstation.domain.errors import Refusal, Unavailable
from workstation.store.database import Database, DataRefused


async def test_a_deadlock_is_retried_and_both_sides_get_through(spine: Spine) -> None:
    await spine.agent("a"), await spine.agent("b")
    met = asyncio.Barrier(2)
    tries = {"one": 0, "two": 0}

    async def both(who: str, first: str, second: str) -> None:
        async def work(connection: Any) -> None:
            tries[who] += 1
            async with connection.transaction():
                await connection.execute("update agent_registry set region = $2 where name = $1", first, who)
                if tries["one"] + tries["two"] <= 2:
                    await met.wait()
                await connection.execute("update agent_registry set region = $2 where name = $1", second, who)

        await spine.database.hot(who).run(work)

    await asyncio.gather(both("one", "a", "b"), both("two", "b", "a"))
    assert tries["one"] + tries["two"] >= 3
    regions = {row["region"] for row in await spine.fetch("select region from agent_registry")}
    assert len(regions) == 1


async def test_a_deadlock_beside_the_hot_path_may_be_asked_again(spine: Spine) -> None:
    await spine.agent("a"), await spine.agent("b")
    met = asyncio.Barrier(2)

    async def both(first: str, second: str) -> None:
        async with spine.database.transaction() as connection:
            await connection.execute("update agent_registry set region = 'x' where name = $1", first)
            await met.wait()
            await connection.execute("update agent_registry set region = 'x' where name = $1", second)

    outcomes = await asyncio.gather(both("a", "b"), both("b", "a"), return_exceptions=True)
    assert sorted(type(outcome) for outcome in outcomes if outcome is not None) == [Unavailable]


async def pid(connection: Any) -> int:
    return int(await connection.fetchval("select pg_backend_pid()"))


async def cut(spine: Spine, backend: int) -> None:
    """Cut a connection while it works."""
    await until(lambda: busy(spine, backend))
    await spine.value("select pg_terminate_backend($1)", backend)


async def busy(spine: Spine, backend: int) -> bool:
    return await spine.value("select state from pg_stat_activity where pid = $1", backend) == "active"


async def test_a_hot_connection_that_was_cut_at_work_is_opened_again(spine: Spine) -> None:
    hot = spine.database.hot("cut")
    first = await hot.run(pid)
    cutting = asyncio.create_task(cut(spine, first))
    with pytest.raises(Unavailable):
        await hot.run(lambda c: c.execute("select pg_sleep(1.4)"))  # type: ignore[arg-type]
    await cutting
    assert await hot.run(pid) != first


async def test_what_may_be_repeated_is_repeated_once_by_itself(spine: Spine) -> None:
    hot = spine.database.hot("cut")
    seen = [await hot.run(pid)]

    async def work(connection: Any) -> str:
        seen.append(await pid(connection))
        if len(seen) == 2:
            await connection.execute("select pg_sleep(1.4)")
        return "done"

    cutting = asyncio.create_task(cut(spine, seen[0]))
    assert await hot.run(work, repeat=True) == "done"
    await cutting
    assert seen[0] == seen[1] != seen[2] and len(seen) == 3


async def test_a_statement_that_takes_too_long_is_given_up(spine: Spine) -> None:
    hot = spine.database.hot("slow")

    async def sleep(connection: Any) -> None:
        await connection.execute("select pg_sleep(5)")

    async with asyncio.timeout(4):
        with pytest.raises(Unavailable):
            await hot.run(sleep)


async def test_refused_data_keeps_the_connection(spine: Spine) -> None:
    hot = spine.database.hot("data")
    await hot.run(lambda c: c.execute("select 1"))  # type: ignore[arg-type]
    pid = await hot.run(lambda c: c.fetchval("select pg_backend_pid()"))  # type: ignore[arg-type]
    with pytest.raises(DataRefused):
        await hot.run(lambda c: c.execute("select 1 / 0"))  # type: ignore[arg-type]
    assert await hot.run(lambda c: c.fetchval("select pg_backend_pid()")) == pid  # type: ignore[arg-type]


@pytest.mark.parametrize("value", ["a\ud800b", "a\0b"])
async def test_text_that_cannot_be_sent_is_refused_data_and_not_a_lost_database(spine: Spine, value: str) -> None:
    with pytest.raises(DataRefused):
        await spine.on(lambda c: c.fetchval("select $1::text", value))  # type: ignore[arg-type]


async def test_a_number_out_of_range_is_refused_data_and_not_a_lost_database(spine: Spine) -> None:
    with pytest.raises(DataRefused):
        await spine.on(lambda c: c.fetchval("select $1::int", 2**40))  # type: ignore[arg-type]


async def test_an_unknown_table_is_neither(spine: Spine) -> None:
    with pytest.raises(Exception, match="no_such_table") as raised:
        await spine.on(lambda c: c.execute("select * from no_such_table"))  # type: ignore[arg-type]
    assert not isinstance(raised.value, Refusal | DataRefused)


async def test_nobody_there_is_unavailable() -> None:
    with pytest.raises(Unavailable):
        await Database.connect("postgresql://nobody@127.0.0.1:1/nothing")


async def test_a_full_pool_is_unavailable_within_two_seconds(spine_dsn: str) -> None:
    database = await Database.connect(spine_dsn, pool_size=1)
    try:
        async with database.session():
            async with asyncio.timeout(3):
                with pytest.raises(Unavailable):
                    async with database.session():
                        raise AssertionError("two had the one connection")
    finally:
        await database.close()


async def test_a_transaction_that_stands_still_lets_go_of_its_rows(spine: Spine) -> None:
    """As that of a process that was frozen between two statements."""
    agent = await spine.agent()
    lock = "select id from agent_registry where id = $1 for update"
    held = asyncio.Event()

    async def stand_still() -> None:
        async with spine.database.transaction() as connection:
            await connection.execute(lock, agent)
            held.set()
            await asyncio.sleep(4)

    frozen = asyncio.create_task(stand_still())
    await held.wait()
    began = time.monotonic()
    await spine.execute(lock, agent)
    assert time.monotonic() - began < 3.7
    with pytest.raises(Unavailable):
        await frozen
