"""Tables stay small, sums stay right, and nothing goes before its time."""

from datetime import UTC, datetime, timedelta

import pytest
from tests.support.spine import Spine, new

from workstation.engine.health import HealthWatch
from workstation.engine.janitor import Janitor, Retention
from workstation.services import agents


@pytest.fixture
def janitor(spine: Spine) -> Janitor:
    return Janitor(spine.database, Retention())


async def finished(spine: Spine, ago: timedelta, status: str = "completed", **columns: object) -> int:
    agent = await spine.agent()
    fields: dict[str, object] = {
        "agent_id": agent, "type": "t", "payload": "{}", "status": status, "created_by": "alice",
        "completed_at": datetime.now(UTC) - ago, **columns,
    }  # fmt: skip
    marks = ", ".join(f"${number}" for number in range(1, len(fields) + 1))
    statement = f"insert into agent_tasks ({', '.join(fields)}) values ({marks}) returning id"
    return int(await spine.value(statement, *fields.values()))


async def test_folding_keeps_every_sum(spine: Spine, janitor: Janitor) -> None:
    one, other = await spine.agent(), await spine.agent()
    for _ in range(20):
        await spine.submit(new(one))
    await spine.submit(*(new(other) for _ in range(5)), *(new(capability="ocr") for _ in range(2)))
    before = [await agents.get_statistics(spine.database, agent) for agent in (one, other)]
    assert await janitor.fold_once() == 0
    assert await spine.value("select count(*) from task_counts") == 3
    assert [await agents.get_statistics(spine.database, agent) for agent in (one, other)] == before
    overview, _ = await agents.get_overview(spine.database)
    assert overview["pending_tasks"] == 27
    assert await janitor.fold_once() == 0


async def test_folding_goes_on_at_once_while_there_is_much(spine: Spine, janitor: Janitor) -> None:
    agent = await spine.agent()
    many = "insert into task_counts (agent_id, pending) select $1, 1 from generate_series(1, 12000)"
    await spine.execute(many, agent)
    assert await janitor.fold_once() > 0
    while await janitor.fold_once():
        pass
    assert await spine.value("select sum(pending) from task_counts") == 12_000
    assert await spine.value("select count(*) from task_counts") < 10


async def test_idempotency_keys_are_free_after_a_day(spine: Spine, janitor: Janitor) -> None:
    old = await finished(spine, timedelta(hours=25), idempotency_key="old", request_hash=b"1")
    young = await finished(spine, timedelta(hours=23), idempotency_key="young", request_hash=b"1")
    agent = await spine.agent()
    (open_,) = await spine.submit(new(agent, idempotency_key="open", request_hash=b"1"))
    await spine.execute("update agent_tasks set created_at = now() - interval '9 days'")
    await janitor.tidy_once()
    keys = {row[0]: row[1] for row in await spine.fetch("select id, idempotency_key from agent_tasks")}
    assert keys == {old: None, young: "young", open_: "open"}
    (again,) = await spine.submit(new(agent, idempotency_key="old", request_hash=b"2"))
    assert again not in (old, young, open_)


async def test_finished_tasks_go_after_their_time_and_dead_letters_stay(spine: Spine, janitor: Janitor) -> None:
    await finished(spine, timedelta(days=31))
    await finished(spine, timedelta(days=31), "cancelled")
    young = await finished(spine, timedelta(days=29))
    dead = await finished(spine, timedelta(days=99), "failed", dead_letter=True)
    agent = await spine.agent()
    (open_,) = await spine.submit(new(agent))
    await janitor.tidy_once()
    assert {row[0] for row in await spine.fetch("select id from agent_tasks")} == {young, dead, open_}


async def old_tasks(spine: Spine, n: int, **columns: str) -> int:
    """An agent with so many completed tasks of 40 days ago."""
    agent = await spine.agent()
    more = "".join(f", {name}" for name in columns), "".join(f", {value}" for value in columns.values())
    await spine.execute(
        f"insert into agent_tasks (agent_id, type, payload, status, created_by, created_at, completed_at{more[0]})"
        " select $1, 't', '{}', 'completed', 'alice', now() - interval '40 days', now() - interval '40 days'"
        f"{more[1]} from generate_series(1, {n}) n",
        agent,
    )
    return agent


async def test_pruning_takes_a_thousand_at_a_time(spine: Spine, janitor: Janitor) -> None:
    agent = await old_tasks(spine, 2500)
    left = []
    while await janitor.tidy_once():
        left.append(await spine.value("select count(*) from agent_tasks"))
    assert left == [1500, 500]
    assert await spine.value("select count(*) from agent_tasks") == 0
    assert (await agents.get_statistics(spine.database, agent)).completed == 2500


async def test_pruning_passes_over_what_has_to_stay(spine: Spine, janitor: Janitor) -> None:
    agent = await spine.agent()
    await spine.submit(*(new(agent) for _ in range(1200)))
    await spine.execute("update agent_tasks set created_at = now() - interval '50 days'")
    gone = await old_tasks(spine, 300)
    while await janitor.tidy_once():
        pass
    assert await spine.value("select count(*) from agent_tasks where agent_id = $1", gone) == 0
    assert await spine.value("select count(*) from agent_tasks") == 1200


async def test_a_pass_over_tasks_ends_at_the_first_stretch_of_young_ones(spine: Spine, janitor: Janitor) -> None:
    agent = await spine.agent()
    await spine.submit(*(new(agent) for _ in range(2500)))
    assert await janitor.tidy_once() == 0


async def test_keys_are_freed_stretch_by_stretch_and_those_still_needed_later(spine: Spine, janitor: Janitor) -> None:
    keyed = {"idempotency_key": "'k' || n", "request_hash": "'1'::bytea"}
    agent = await spine.agent()
    (slow,) = await spine.submit(new(agent, idempotency_key="slow", request_hash=b"1"))
    await spine.execute("update agent_tasks set created_at = now() - interval '29 days'")
    await old_tasks(spine, 2100, **keyed)
    await spine.execute("update agent_tasks set completed_at = now() - interval '2 days' where id <> $1", slow)
    while await janitor.tidy_once():
        pass
    assert await spine.value("select array_agg(id) from agent_tasks where idempotency_key is not null") == [slow]
    await spine.execute(
        "update agent_tasks set status = 'cancelled', completed_at = now() - interval '25 hours' where id = $1", slow
    )
    while await janitor.tidy_once():
        pass
    assert await spine.value("select count(*) from agent_tasks where idempotency_key is not null") == 0


async def test_what_came_to_no_partition_of_its_own_goes_as_well(spine: Spine, janitor: Janitor) -> None:
    await spine.execute(
        "insert into events (type, at) select 'old', now() - interval '40 days' from generate_series(1, 9)"
    )
    await spine.execute(
        "insert into task_attempts"
        " (task_id, attempt, agent_id, instance_id, claimed_at, deadline_at, ended_at, outcome)"
        " select n, 1, 1, gen_random_uuid(), now() - interval '40 days', now(), now(), 'failed'"
        " from generate_series(1, 9) n"
    )
    assert await janitor.partition_once() == 0
    assert await spine.value("select count(*) from events where type = 'old'") == 0
    assert await spine.value("select count(*) from task_attempts") == 0


async def test_old_starts_and_old_audit_entries_go(spine: Spine, janitor: Janitor) -> None:
    agent = await spine.agent()
    await spine.execute(
        "insert into agent_launches (id, agent_id, replica, driver, status, ended_at)"
        " select gen_random_uuid(), $1, n, 'process', 'ended', now() - n * interval '1 day' from unnest(array[6, 8]) n",
        agent,
    )
    await spine.execute(
        "insert into audit_log (at, actor, action, status)"
        " select now() - n * interval '1 day', 'root', 'stop', 200 from unnest(array[400, 300]) n"
    )
    await janitor.tidy_once()
    assert await spine.value("select array_agg(replica) from agent_launches") == [6]
    assert await spine.value("select count(*) from audit_log") == 1


async def test_old_instances_go_unless_they_hold_something(spine: Spine, janitor: Janitor) -> None:
    agent = await spine.agent()
    gone, holding, recent, alive = [await spine.instance(agent) for _ in range(4)]
    await spine.submit(new(agent))
    await spine.claim(holding)
    await spine.execute(
        "update agent_instances set status = 'dead', ended_at = now() - interval '8 days' where id = any ($1)",
        [gone, holding],
    )
    await spine.execute("update agent_instances set status = 'ended', ended_at = now() where id = $1", recent)
    await janitor.tidy_once()
    assert {row[0] for row in await spine.fetch("select id from agent_instances")} == {holding, recent, alive}


async def test_partitions_are_made_and_dropped_in_one_step(spine: Spine, janitor: Janitor) -> None:
    day = (datetime.now(UTC) - timedelta(days=40)).date()
    await spine.execute(
        f"create table events_{day:%Y%m%d} partition of events"
        f" for values from ('{day}') to ('{day + timedelta(days=1)}')"
    )
    assert await janitor.partition_once() == 0
    names = {row[0] for row in await spine.fetch("select relname from pg_class where relname ~ '^events_[0-9]{8}$'")}
    today = datetime.now(UTC).date()
    assert names == {f"events_{today + timedelta(days=n):%Y%m%d}" for n in range(4)}
    for name in names | {name.replace("events", "task_attempts") for name in names}:
        await spine.execute(f"drop table {name}")


async def test_health_that_was_not_renewed_says_nothing_any_more(spine: Spine) -> None:
    watch = HealthWatch(spine.database)
    quick = await spine.agent(health_status="unhealthy", health_interval_ms=1000, unhealthy_since=datetime.now(UTC))
    slow, never = await spine.agent(health_status="degraded"), await spine.agent(health_status="healthy")
    await spine.execute(
        "update agent_registry set health_reported_at = now() - interval '4 seconds' where id <> $1", never
    )
    await watch.expire_once()
    words = {row["id"]: row["health_status"] for row in await spine.fetch("select * from agent_registry")}
    assert words == {quick: "unknown", slow: "degraded", never: "healthy"}
    assert await spine.value("select unhealthy_since from agent_registry where id = $1", quick) is None
    await spine.execute("update agent_registry set health_reported_at = now() - interval '301 seconds'")
    await watch.expire_once()
    assert await spine.value("select health_status from agent_registry where id = $1", slow) == "unknown"
    assert await spine.value("select count(*) from events where type = 'health.changed'") == 3


async def test_a_partition_in_use_is_dropped_later_and_holds_up_nobody(spine: Spine, janitor: Janitor) -> None:
    day = (datetime.now(UTC) - timedelta(days=40)).date()
    name = f"events_{day:%Y%m%d}"
    await spine.execute(
        f"create table {name} partition of events for values from ('{day}') to ('{day + timedelta(days=1)}')"
    )
    async with spine.database.transaction() as reader:
        await reader.execute(f"select from {name}")
        await janitor.partition_once()
        assert await spine.value("select to_regclass($1)::text", name) == name
    await janitor.partition_once()
    assert await spine.value("select to_regclass($1)::text", name) is None
    for row in await spine.fetch("select relname from pg_class where relname ~ '^(events|task_attempts)_[0-9]{8}$'"):
        await spine.execute(f"drop table {row[0]}")
