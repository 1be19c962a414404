"""Every loop on several replicas at once: what one of them does is done once, whoever else does the same."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from itertools import chain
from typing import Any
from uuid import uuid4

import pytest
from tests.support.floor import House, open_house
from tests.support.spine import Spine, new
from tests.support.yard import Yard, idle, open_yard, running, step, steps_until

from workstation.agents.builtins import BUILTINS
from workstation.engine.health import HealthWatch
from workstation.engine.janitor import Janitor, Retention
from workstation.engine.node import KeyMismatch, NodeLease
from workstation.engine.reaper import SETTLED_AFTER_SECONDS, Reaper
from workstation.engine.supervisor import Supervisor
from workstation.runtimes.fake import Program
from workstation.server.seed import seed_builtins
from workstation.services import supervision
from workstation.store import launches

ROUNDS = 15


@pytest.fixture
async def yard(spine: Spine) -> AsyncIterator[Yard]:
    async with open_yard(spine) as yard:
        yield yard


async def together(*steps: Callable[[], Awaitable[Any]]) -> list[Any]:
    """The same step on several replicas, begun in another order each time."""
    order = list(steps)
    random.shuffle(order)
    return await asyncio.gather(*(step() for step in order))


# -- supervisors ----------------------------------------------------------------------------------------------------


async def test_agents_that_crash_again_and_again_never_run_twice(yard: Yard) -> None:
    supervisors = [yard.supervisor(await yard.node()) for _ in range(3)]
    wanted = [await yard.agent() for _ in range(4)]
    for _ in range(ROUNDS):
        # A node can die at any moment as well: then its agents are taken over by one of the others.
        if random.random() < 0.3:
            await yard.lapse(random.choice(supervisors)._here.node_id, 31)
        await together(*(supervisor.supervise_once for supervisor in supervisors))
        for supervisor in supervisors:
            await idle(supervisor)
        assert all(len(yard.copies(agent)) <= 1 for agent in wanted)
        await yard.spine.execute(
            "update agent_registry set start_attempts = '{}', next_start_at = case status when 'error' then now() end"
        )
        await yard.spine.execute("update nodes set lease_expires_at = now() + interval '20 seconds'")
        for spec in yard.machine.running():
            if random.random() < 0.5:
                yard.machine.crash(spec.launch_id)
    assert await yard.spine.value("select count(*) from agent_launches") > 2 * len(wanted)


async def test_a_look_that_is_older_than_a_start_elsewhere_starts_nothing(yard: Yard) -> None:
    agent = await yard.agent("crash")
    here = await yard.node()
    (seen,) = await supervision.list_supervised(yard.spine.database, here)
    elsewhere = yard.supervisor(await yard.node())
    await step(elsewhere)
    await step(elsewhere)
    assert [launch["status"] for launch in await yard.launches(agent)] == ["ended"]
    assert not await supervision.open_launch(yard.spine.database, seen, uuid4(), here, [seen["now"]])


async def test_a_start_during_which_the_replica_froze_leaves_one_copy(yard: Yard) -> None:
    """The other one takes the start for interrupted and makes its own; the first wakes up and lets go of its copy."""
    yard.machine.programs["slow"] = Program(start_delay=timedelta(seconds=1))
    frozen, node = yard.supervisor(first := await yard.node()), await yard.node()
    other = yard.supervisor(node)
    agent = await yard.agent("slow")
    await frozen.supervise_once()
    while not await yard.launches(agent):
        await asyncio.sleep(0.005)
    await yard.lapse(first, 31)
    yard.machine.programs["slow"] = Program()

    async def started() -> bool:
        return len(yard.copies(agent)) == 1

    await steps_until(other, started)
    await idle(frozen)
    await step(other)
    (spec,) = yard.copies(agent)
    (old,) = [launch for launch in await yard.launches(agent) if launch["status"] == "ended"]
    assert spec.launch_id != old["id"] and old["handle"] is None
    assert await yard.spine.value("select bool_and(revoked_at is not null) from tokens where launch_id = $1", old["id"])


async def test_the_agents_of_a_dead_replica_are_each_taken_over_by_one(yard: Yard) -> None:
    dead, heirs = await yard.node(), [await yard.node() for _ in range(3)]
    for _ in range(ROUNDS):
        supervisor = yard.supervisor(dead)
        await yard.spine.execute("delete from agent_launches")
        await yard.agent()
        await step(supervisor)
        await supervisor.close()
        await yard.lapse(dead, 31)

        async def adopt(heir: Any) -> list[Any]:
            async with yard.spine.database.session() as connection:
                return await launches.adopt_launches(connection, heir)

        adopted = list(chain(*await together(*(lambda heir=heir: adopt(heir) for heir in heirs))))
        assert len(adopted) == len(set(adopted)) == await yard.spine.value("select count(*) from agent_launches")


async def test_who_waited_for_another_that_takes_over_gets_nothing_of_it(yard: Yard) -> None:
    dead, first, second = await yard.node(), await yard.node(), await yard.node()
    agent = await running(yard, yard.supervisor(dead))
    await yard.lapse(dead, 31)
    async with yard.spine.database.transaction() as connection:
        assert len(await launches.adopt_launches(connection, first)) == 1
        waiting = asyncio.create_task(_adopted_by(yard, second))
        await asyncio.sleep(0.3)
        assert not waiting.done()
    assert await waiting == []
    assert [launch["node_id"] for launch in await yard.launches(agent)] == [first]


async def test_after_an_outage_for_everybody_nobody_takes_over_what_another_still_has(yard: Yard) -> None:
    mine, theirs = await yard.node(), await yard.node()
    supervisor = yard.supervisor(theirs)
    agent = await running(yard, supervisor)
    await yard.lapse(theirs, 60)
    await yard.lapse(mine, 60)
    assert await _adopted_by(yard, mine) == []
    # It is back, and the other one a moment later.
    await NodeLease(yard.spine.database, mine, "http://here", "key").renew_once()
    assert await _adopted_by(yard, mine) == []
    await NodeLease(yard.spine.database, theirs, "http://there", "key").renew_once()
    await yard.spine.execute("update nodes set started_at = now() - interval '11 seconds'")
    assert await _adopted_by(yard, mine) == []
    await yard.lapse(theirs, 31)
    assert len(await _adopted_by(yard, mine)) == 1 == len(yard.copies(agent))


async def _adopted_by(yard: Yard, node: Any) -> list[Any]:
    async with yard.spine.database.session() as connection:
        return await launches.adopt_launches(connection, node)


async def test_a_replica_that_goes_down_leaves_its_agents_to_be_started_by_another(yard: Yard) -> None:
    going, staying = yard.supervisor(await yard.node()), yard.supervisor(await yard.node())
    agent = await running(yard, going)

    async def keep_looking(supervisor: Supervisor) -> None:
        for _ in range(20):
            await step(supervisor)
            assert len(yard.copies(agent)) <= 1
            await asyncio.sleep(0.005)

    await asyncio.gather(going.stop_all(), keep_looking(staying))
    await step(staying)
    assert len(yard.copies(agent)) == 1
    open_launch = (await yard.launches(agent))[-1]
    assert staying.runs(open_launch["id"]) and not going.runs(open_launch["id"])


# -- reapers, janitors, health --------------------------------------------------------------------------------------


async def test_what_is_lost_is_taken_back_once(spine: Spine) -> None:
    async with AsyncExitStack() as stack:
        reapers = []
        for _ in range(3):
            house: House = await stack.enter_async_context(open_house(spine))
            reaper = Reaper(spine.database, house.dispatcher, house.clock)
            await reaper.reap_once()
            for _ in range(8):
                house.clock.now += SETTLED_AFTER_SECONDS - 1
                await reaper.reap_once()
            reapers.append(reaper)
        agent = await spine.agent()
        for _ in range(ROUNDS):
            instance = await spine.instance(agent, slots=20)
            made = await spine.submit(*(new(agent) for _ in range(20)))
            await spine.claim(instance)
            await spine.kill(instance)
            await together(*(reaper.reap_once for reaper in reapers))
            rows = await spine.fetch("select status, lost_count from agent_tasks where id = any ($1)", made)
            assert [tuple(row) for row in rows] == [("pending", 1)] * 20
            await spine.execute("delete from agent_tasks")
        assert len(await spine.told("task.lost")) == 20 * ROUNDS
        assert await spine.value("select count(*) from events where type = 'instance.lost'") == ROUNDS
        assert await spine.value("select sum(running) from task_counts") == 0


async def test_counts_stay_right_while_several_fold_them(spine: Spine) -> None:
    agents = [await spine.agent() for _ in range(2)]
    janitors = [Janitor(spine.database, Retention()) for _ in range(3)]
    for number in range(ROUNDS):
        await together(
            *(janitor.fold_once for janitor in janitors),
            lambda: _submit_to_each(spine, agents),
        )
        rows = await spine.fetch("select agent_id, sum(pending) from task_counts group by 1 order by 1")
        assert [tuple(row) for row in rows] == [(agent, 5 * (number + 1)) for agent in agents]


async def _submit_to_each(spine: Spine, agents: list[int]) -> None:
    for agent in agents:
        await spine.submit(*(new(agent) for _ in range(5)))


async def test_old_tasks_and_partitions_go_once_whoever_removes_them(spine: Spine) -> None:
    agent = await spine.agent()
    janitors = [Janitor(spine.database, Retention()) for _ in range(3)]
    for day in range(ROUNDS):
        made = await spine.submit(*(new(agent, idempotency_key=f"{day}-{n}") for n in range(30)))
        await spine.claim(await spine.instance(agent, slots=30))
        await spine.execute(
            "update agent_tasks set status = 'completed', instance_id = null, deadline_at = null, "
            "started_at = now(), completed_at = now() - (case when id % 2 = 0 then 2 else 40 end) * interval '1 day' "
            "where id = any ($1)",
            made,
        )
        old = f"events_2020{day // 28 + 1:02}{day % 28 + 1:02}"
        first = f"2020-{day // 28 + 1:02}-{day % 28 + 1:02}"
        await spine.execute(
            f"create table {old} partition of events for values from ('{first}') to ('{first}'::date + 1)"
        )
        # None of them fails, for a failure would count as one of the loop.
        await together(*(janitor.tidy_once for janitor in janitors), *(j.partition_once for j in janitors))
        await together(*(janitor.tidy_once for janitor in janitors))
        assert await spine.value("select to_regclass($1)::text", old) is None
        rows = await spine.fetch("select idempotency_key from agent_tasks where id = any ($1)", made)
        assert [row["idempotency_key"] for row in rows] == [None] * 15


async def test_health_that_grew_old_is_told_once(spine: Spine) -> None:
    agents = [await spine.agent(health_status="healthy") for _ in range(5)]
    watches = [HealthWatch(spine.database) for _ in range(3)]
    for _ in range(ROUNDS):
        await spine.execute(
            "update agent_registry set health_status = 'healthy', health_reported_at = now() - interval '1 hour'"
        )
        await together(*(watch.expire_once for watch in watches))
    told = await spine.value("select count(*) from events where type = 'health.changed'")
    assert told == ROUNDS * len(agents)


# -- starts ---------------------------------------------------------------------------------------------------------


async def test_starters_at_once_enter_the_built_in_agents_once_and_burn_no_numbers(spine: Spine) -> None:
    for _ in range(5):
        await spine.execute("truncate agent_registry restart identity cascade")
        inserted = await asyncio.gather(*(seed_builtins(spine.database, start=True) for _ in range(4)))
        assert sorted(inserted) == [0, 0, 0, len(BUILTINS)]
        rows = await spine.fetch("select id from agent_registry order by id")
        assert [row["id"] for row in rows] == list(range(1, len(BUILTINS) + 1))


async def test_of_two_starters_with_different_keys_one_enters(spine: Spine) -> None:
    for _ in range(ROUNDS):
        await spine.execute("delete from nodes")
        nodes = [NodeLease(spine.database, uuid4(), "http://here", key) for key in ("one", "another")]
        outcomes = await asyncio.gather(*(node.join() for node in nodes), return_exceptions=True)
        assert sorted(type(outcome) for outcome in outcomes if outcome is not None) == [KeyMismatch]


async def test_a_replica_that_was_away_does_not_come_back_beside_another_key(spine: Spine) -> None:
    frozen = NodeLease(spine.database, uuid4(), "http://here", "old")
    await frozen.join()
    await spine.execute("update nodes set lease_expires_at = now() - interval '1 second'")
    await NodeLease(spine.database, uuid4(), "http://there", "new").join()
    with pytest.raises(KeyMismatch):
        await frozen.renew_once()


async def test_one_that_goes_down_is_no_other_any_more_and_keeps_what_it_stops(yard: Yard) -> None:
    staying, going = await yard.node(), await yard.node()
    agent = await running(yard, yard.supervisor(going))
    lease = NodeLease(yard.spine.database, going, "http://here", "key")
    assert await lease.retire() == 1
    await lease.renew_once()
    assert await NodeLease(yard.spine.database, staying, "http://there", "key").retire() == 0
    assert await _adopted_by(yard, staying) == [] and len(yard.copies(agent)) == 1
