"""What silently hurts a queue is made for real, each trouble in turn, and the examination tells of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import timedelta
from uuid import uuid4

import asyncpg
import pytest
from tests.support.postgres import TestServer, server_folder
from tests.support.spine import Spine, new

from workstation.domain.findings import Finding, Level
from workstation.engine.node import NodeLease
from workstation.services import examination
from workstation.store import history
from workstation.store.database import Connection, Database
from workstation.store.migrate import migrate, migrations
from workstation.telemetry import clock

Check = Callable[[Connection], Awaitable[list[Finding]]]
OK, WARNING, PROBLEM = Level.OK, Level.WARNING, Level.PROBLEM


async def look(spine: Spine, check: Check) -> list[Finding]:
    """What one check finds now."""
    async with spine.database.session() as connection:
        return await check(connection)


async def levels(spine: Spine, check: Check) -> list[Level]:
    return [finding.level for finding in await look(spine, check)]


async def only(spine: Spine, check: Check, level: Level) -> str:
    """The message of the one finding, which is of this level."""
    [finding] = await look(spine, check)
    assert finding.level is level, finding
    return finding.message


@pytest.fixture
async def partitioned(spine: Spine) -> AsyncIterator[Spine]:
    """The spine with partitions of the next days, as the janitor makes them; the other tests do without."""
    async with spine.database.session() as connection:
        await history.make_partitions(connection, days_ahead=2)
    yield spine
    await spine.execute(
        "do $$ declare p text; begin for p in select inhrelid::regclass::text from pg_inherits i"
        " join pg_class c on c.oid = i.inhrelid where c.relname ~ '_[0-9]{8}$' and c.relkind = 'r' loop"
        " execute 'drop table ' || p; end loop; end $$"
    )


async def test_a_healthy_queue_lacks_nothing_but_the_durability_of_a_real_server(partitioned: Spine) -> None:
    agent = await partitioned.agent()
    await partitioned.instance(agent)
    await partitioned.submit(new(agent))
    async with partitioned.database.session() as connection:
        found = await examination.examine(connection)
    assert [finding.subject for finding in found if finding.level is not OK] == ["durability"]


async def test_fsync_off_is_a_problem_that_says_so(spine: Spine) -> None:
    assert "fsync and full_page_writes: off" in await only(spine, examination.durability, PROBLEM)


async def test_synchronous_commit_off_for_the_role_is_found(spine: Spine) -> None:
    name = await spine.value("select current_database()")
    await spine.execute(f'alter database "{name}" set synchronous_commit = off')
    try:
        other = await Database.connect(spine.dsn, pool_size=1)
        async with other.session() as connection:
            [finding] = await examination.durability(connection)
        assert "synchronous_commit" in finding.message
        await other.close()
    finally:
        await spine.execute(f'alter database "{name}" reset synchronous_commit')


async def test_an_old_snapshot_is_found_with_who_holds_it(spine: Spine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examination, "OLD", timedelta(seconds=0.2))
    holder = await asyncpg.connect(spine.dsn, server_settings={"application_name": "reporting"})
    assert await levels(spine, examination.snapshots) == [OK]
    await holder.execute("begin isolation level repeatable read; select count(*) from agent_tasks")
    await asyncio.sleep(0.4)
    message = await only(spine, examination.snapshots, WARNING)
    assert f"reporting (user workstation, pid {holder.get_server_pid()}, idle in transaction) is open for 0." in message
    monkeypatch.setattr(examination, "VERY_OLD", timedelta(seconds=0.3))
    await only(spine, examination.snapshots, PROBLEM)
    await holder.execute("rollback")
    assert await levels(spine, examination.snapshots) == [OK]
    await holder.close()


async def test_a_transaction_that_wrote_and_then_sleeps_is_found(spine: Spine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examination, "OLD", timedelta(seconds=0.1))
    agent = await spine.agent()
    holder = await asyncpg.connect(spine.dsn)
    await holder.execute(f"begin; update agent_registry set region = 'x' where id = {agent}")
    await asyncio.sleep(0.2)
    assert await levels(spine, examination.snapshots) == [WARNING]
    await holder.close()


async def test_durations_are_of_the_thresholds_as_shipped(spine: Spine) -> None:
    holder = await asyncpg.connect(spine.dsn)
    await holder.execute("begin isolation level repeatable read; select 1")
    assert await levels(spine, examination.snapshots) == [OK], "a young transaction is nobody's trouble"
    await holder.close()


@pytest.fixture
def preparing() -> Iterator[str]:
    """The DSN of a server that allows prepared transactions."""
    with server_folder() as folder:
        server = TestServer(folder)
        server.start()
        asyncio.run(server.execute("alter system set max_prepared_transactions = 2"))
        server.stop()
        server.start()
        yield server.server.dsn
        server.stop()


async def test_an_abandoned_prepared_transaction_and_an_idle_slot_are_found(
    preparing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examination, "OLD", timedelta(seconds=0.1))
    database = await Database.connect(preparing, pool_size=1)
    await migrate(database)
    async with database.session() as connection:
        await connection.execute("begin; insert into audit_log (actor, action, status) values ('a', 'b', 1)")
        await connection.execute("prepare transaction 'forgotten'")
        await connection.execute("select pg_create_physical_replication_slot('standby', true)")
        await asyncio.sleep(0.2)
        found = await examination.snapshots(connection)
        assert [finding.level for finding in found] == [WARNING, WARNING]
        assert "'forgotten'" in found[0].message and "slot standby" in found[1].message
        await connection.execute("rollback prepared 'forgotten'")
        await connection.execute("select pg_drop_replication_slot('standby')")
        assert [finding.level for finding in await examination.snapshots(connection)] == [OK]
    await database.close()


async def test_dead_rows_that_an_old_snapshot_keeps_are_found_and_what_a_look_costs(spine: Spine) -> None:
    agent = await spine.agent()
    holder = await asyncpg.connect(spine.dsn)
    await holder.execute("begin isolation level repeatable read; select count(*) from agent_tasks")
    fill = "insert into agent_tasks (agent_id, type, payload) select $1, 't', '{}' from generate_series(1, 60000)"
    await spine.execute(fill, agent)
    assert await levels(spine, examination.queue_index) == [OK]
    await spine.execute("update agent_tasks set status = 'completed', completed_at = now()")
    await spine.execute("select pg_stat_force_next_flush()")
    found = [finding for finding in await look(spine, examination.dead_rows) if finding.level is WARNING]
    assert any(
        finding.message.startswith("agent_tasks has 60000 dead rows beside 60000 live ones") for finding in found
    )
    assert "0 lanes: task_queue is full of dead entries" in await only(spine, examination.queue_index, WARNING)
    await holder.close()
    await spine.execute("vacuum agent_tasks")
    await spine.execute("select pg_stat_force_next_flush()")
    assert not [finding for finding in await look(spine, examination.dead_rows) if "agent_tasks has" in finding.message]
    assert await levels(spine, examination.queue_index) == [OK]


async def test_autovacuum_that_is_off_for_a_table_is_found(spine: Spine) -> None:
    await spine.execute("alter table agent_tasks set (autovacuum_enabled = off)")
    try:
        assert "off for agent_tasks" in await only(spine, examination.dead_rows, PROBLEM)
    finally:
        await spine.execute("alter table agent_tasks reset (autovacuum_enabled)")


async def test_a_database_that_is_nearly_out_of_connections_is_found(spine: Spine) -> None:
    most = await spine.value("select current_setting('max_connections')::int")
    crowd: list[asyncpg.Connection[asyncpg.Record]] = []
    assert await levels(spine, examination.connections) == [OK]
    try:
        while await levels(spine, examination.connections) == [OK]:
            crowd += await asyncio.gather(*(asyncpg.connect(spine.dsn) for _ in range(4)))
            await spine.execute("select pg_stat_clear_snapshot()")
            assert len(crowd) < most
        assert await levels(spine, examination.connections) == [WARNING]
        while await levels(spine, examination.connections) == [WARNING]:
            crowd.append(await asyncpg.connect(spine.dsn))
        assert "raise max_connections" in await only(spine, examination.connections, PROBLEM)
    finally:
        for connection in crowd:
            await connection.close()


async def test_rows_in_a_default_partition_and_a_missing_day_are_found(partitioned: Spine) -> None:
    assert await levels(partitioned, examination.partitions) == [OK]
    await partitioned.execute("insert into events (type, at) values ('x.y', now() + interval '30 days')")
    assert "events_default has 1 rows" in await only(partitioned, examination.partitions, WARNING)
    tomorrow = await partitioned.value("select 'task_attempts_' || to_char(current_date + 1, 'YYYYMMDD')")
    await partitioned.execute(f"drop table {tomorrow}")
    assert await levels(partitioned, examination.partitions) == [WARNING, PROBLEM]


async def test_a_task_that_nobody_can_take_is_a_problem_with_its_reason(spine: Spine) -> None:
    agent = await spine.agent()
    (task,) = await spine.submit(new(agent))
    assert await levels(spine, examination.waiting_tasks) == [OK]
    await spine.execute("update agent_tasks set run_at = run_at - interval '2 minutes', created_at = run_at")
    message = await only(spine, examination.waiting_tasks, PROBLEM)
    assert str(task) in message and "no connected instance" in message
    await spine.instance(agent)
    assert "nothing holds it back" in await only(spine, examination.waiting_tasks, WARNING)


async def test_fresh_dead_letters_are_found_with_their_type(spine: Spine) -> None:
    agent = await spine.agent()
    assert await levels(spine, examination.dead_letters) == [OK]
    await spine.execute(
        "insert into agent_tasks (agent_id, type, payload, status, completed_at, dead_letter)"
        " select $1, case when n < 3 then 'ocr' else 'say' end, '{}', 'failed', now() - n * interval '25 minutes', true"
        " from generate_series(0, 3) n",
        agent,
    )
    message = await only(spine, examination.dead_letters, WARNING)
    assert message.startswith("3 tasks failed for good in the last hour, most of type ocr, 4 in all")


async def test_an_instance_that_is_not_heard_is_found_and_worse_when_nobody_reaps(spine: Spine) -> None:
    agent = await spine.agent()
    await spine.instance(agent)
    assert await levels(spine, examination.instances) == [OK]
    await spine.execute("update agent_instances set lease_expires_at = now() + interval '6 seconds'")
    assert "was not heard for 9." in await only(spine, examination.instances, WARNING)
    await spine.execute("update agent_instances set lease_expires_at = now() - interval '11 seconds'")
    assert "`reaper` fails" in await only(spine, examination.instances, PROBLEM)


async def test_an_older_and_a_newer_schema_are_found(spine: Spine) -> None:
    assert await levels(spine, examination.schema) == [OK]
    await spine.execute("insert into schema_migrations (number, name, checksum) values (9999, 'x', 'x')")
    assert "schema 9999" in await only(spine, examination.schema, WARNING)
    await spine.execute("delete from schema_migrations where number = 9999")
    newest = await spine.value("delete from schema_migrations where number > 1 returning number")
    assert newest is not None
    try:
        assert "restart this server" in await only(spine, examination.schema, PROBLEM)
    finally:
        for migration in migrations()[1:]:
            await spine.execute(
                "insert into schema_migrations (number, name, checksum) values ($1, $2, $3)",
                migration.number,
                migration.name,
                migration.checksum,
            )


async def test_a_replica_that_went_without_leaving_and_another_version_are_found(spine: Spine) -> None:
    node = NodeLease(spine.database, uuid4(), "http://here:1", "k")
    await node.join()
    await node.renew_once()
    assert await levels(spine, examination.replicas) == [OK, OK]
    await spine.execute(
        "insert into nodes (id, version, url, lease_expires_at)"
        " values (gen_random_uuid(), '0.0.9', 'http://there:2', now() + interval '1 minute'),"
        " (gen_random_uuid(), '0.1.0', 'http://gone:3', now() - interval '3 minutes')"
    )
    gone, versions, clocks = await look(spine, examination.replicas)
    assert gone.level is PROBLEM and "http://gone:3 went 3m00s ago" in gone.message
    assert versions.level is WARNING and "0.0.9, 0.1.0" in versions.message
    assert clocks.level is OK


@pytest.mark.parametrize(
    ("off", "level", "words"),
    [
        (0.5, OK, "agree"),
        (5, WARNING, "s ahead of"),
        (-5, WARNING, "s behind"),
        (3630, PROBLEM, "1h00m ahead of"),
    ],
)
async def test_a_replica_whose_clock_is_wrong_is_found(spine: Spine, off: float, level: Level, words: str) -> None:
    node = NodeLease(spine.database, uuid4(), "http://here:1", "k", wall=lambda: clock.wall() + off)
    await node.join()
    await node.renew_once()
    found = (await look(spine, examination.replicas))[-1]
    assert found.level is level and words in found.message, found
