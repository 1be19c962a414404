"""Tasks go out: in order, to who may have them, and never twice."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from tests.support.spine import Spine, new

from workstation.domain.assign import Taker
from workstation.domain.tasks import OutcomeKind
from workstation.services import queue
from workstation.store.tasks import Look


async def test_priority_then_due_time_then_number(spine: Spine) -> None:
    agent = await spine.agent()
    early = datetime.now(UTC) - timedelta(hours=1)
    numbers = await spine.submit(
        new(agent, priority=5),
        new(agent, priority=10),
        new(agent, priority=5, run_at=early),
        new(agent, priority=1, run_at=early - timedelta(days=1)),
        new(agent, priority=5, run_at=early),
    )
    instance = await spine.instance(agent)
    taken = [(await spine.claim(instance, credit=1))[0].task_id for _ in numbers]
    assert taken == [numbers[index] for index in (1, 2, 4, 0, 3)]


async def test_a_claim_carries_everything_and_writes_its_attempt(spine: Spine) -> None:
    agent = await spine.agent()
    (number,) = await spine.submit(new(agent, type="scrape", payload='{"a": [1]}', priority=7, timeout_ms=1500))
    instance = await spine.instance(agent)
    (claim,) = await spine.claim(instance)
    assert (claim.task_id, claim.attempt, claim.instance_id, claim.agent_id) == (number, 1, instance, agent)
    assert (claim.type, claim.payload, claim.priority, claim.timeout_ms) == ("scrape", '{"a": [1]}', 7, 1500)
    row = await spine.task(number)
    assert row["status"] == "running" and row["deadline_at"] == claim.deadline_at
    assert await spine.attempts(number) == [(1, None)]
    assert await spine.told("task.started") == [number]


async def test_a_task_is_not_taken_before_it_is_due(spine: Spine) -> None:
    agent = await spine.agent()
    await spine.submit(new(agent, run_at=datetime.now(UTC) + timedelta(hours=1)))
    assert await spine.claim(await spine.instance(agent)) == []


async def test_credit_bounds_a_round(spine: Spine) -> None:
    agent = await spine.agent()
    await spine.submit(*(new(agent) for _ in range(5)))
    instance = await spine.instance(agent)
    assert len(await spine.claim(instance, credit=3)) == 3
    assert len(await spine.claim(instance, credit=3)) == 2


@pytest.mark.parametrize(
    "change",
    [
        "update agent_registry set desired_status = 'stopped'",
        "update agent_registry set status = 'starting'",
        "update agent_registry set status = 'error'",
        "update agent_registry set health_status = 'unhealthy'",
        "update agent_registry set removed_at = now()",
        "update agent_instances set status = 'draining'",
        "update agent_instances set status = 'dead', ended_at = now()",
    ],
)
async def test_a_closed_gate_keeps_the_task_pending_whatever_the_caller_believes(spine: Spine, change: str) -> None:
    agent = await spine.agent()
    (number,) = await spine.submit(new(agent))
    instance = await spine.instance(agent)
    await spine.execute(change)
    assert await spine.claim(instance) == []
    row = await spine.task(number)
    assert (row["status"], row["attempt"]) == ("pending", 0)
    assert await spine.attempts(number) == []


@pytest.mark.parametrize("health", ["unknown", "healthy", "degraded"])
async def test_other_health_takes_its_own_tasks_at_once(spine: Spine, health: str) -> None:
    agent = await spine.agent(health_status=health)
    await spine.submit(new(agent))
    assert len(await spine.claim(await spine.instance(agent), degraded=health == "degraded")) == 1


async def test_a_degraded_agent_takes_capability_tasks_five_seconds_late(spine: Spine) -> None:
    agent = await spine.agent(health_status="degraded", capabilities=["ocr"])
    now = datetime.now(UTC)
    (young,) = await spine.submit(new(capability="ocr", run_at=now - timedelta(seconds=1)))
    (old,) = await spine.submit(new(capability="ocr", run_at=now - timedelta(seconds=6)))
    instance = await spine.instance(agent)
    assert [claim.task_id for claim in await spine.claim(instance, degraded=True)] == [old]
    # Even a caller that thinks it healthy cannot give it the young one.
    assert await spine.claim(instance, degraded=False) == []
    assert (await spine.task(young))["status"] == "pending"


async def test_regions_bind_tasks_to_instances_there(spine: Spine) -> None:
    agent = await spine.agent(capabilities=["ocr"])
    there, anywhere, by_capability = await spine.submit(
        new(agent, region="eu"), new(agent), new(capability="ocr", region="eu")
    )
    us = await spine.instance(agent, region="us")
    assert [claim.task_id for claim in await spine.claim(us)] == [anywhere]
    eu = await spine.instance(agent, region="eu")
    assert {claim.task_id for claim in await spine.claim(eu)} == {there, by_capability}


async def test_the_region_of_the_agent_counts_where_the_instance_names_none(spine: Spine) -> None:
    agent = await spine.agent(region="eu")
    await spine.submit(new(agent, region="eu"))
    assert len(await spine.claim(await spine.instance(agent))) == 1


async def test_a_capability_task_gets_its_agent_when_claimed_and_loses_it_when_retried(spine: Spine) -> None:
    agent = await spine.agent(capabilities=["ocr"])
    (number,) = await spine.submit(new(capability="ocr"))
    (claim,) = await spine.claim(await spine.instance(agent))
    assert (await spine.task(number))["agent_id"] == agent == claim.agent_id
    await spine.settle(claim)
    row = await spine.task(number)
    assert (row["status"], row["agent_id"], row["lane"]) == ("pending", None, "cocr")


async def test_only_types_that_are_done_are_taken_from_a_capability(spine: Spine) -> None:
    agent = await spine.agent(capabilities=["ocr"])
    odd, known = await spine.submit(new(capability="ocr", type="odd", priority=10), new(capability="ocr", type="known"))
    instance = await spine.instance(agent)
    assert [c.task_id for c in await spine.claim(instance, credit=1, types=frozenset({"known"}))] == [known]
    assert (await spine.task(odd))["status"] == "pending"


async def test_a_once_lost_task_is_taken_alone(spine: Spine) -> None:
    agent = await spine.agent()
    numbers = await spine.submit(*(new(agent) for _ in range(4)))
    await spine.execute("update agent_tasks set lost_count = 1 where id <= $1", numbers[2])
    instance = await spine.instance(agent)
    first = await spine.claim(instance)
    assert [c.task_id for c in first if c.suspect] == numbers[:1]
    # While it runs the next ones wait; behind them the sound task goes through.
    rest = await spine.claim(instance, suspects=[instance])
    assert [c.task_id for c in [*first, *rest] if not c.suspect] == [numbers[3]]
    other = await spine.instance(agent)
    assert [c.task_id for c in await spine.claim(other, suspects=[instance])] == [numbers[1]]


async def test_several_claimers_at_once_never_give_one_task_twice(spine: Spine) -> None:
    agent = await spine.agent(capabilities=["ocr"])
    await spine.submit(*(new(agent) if number % 2 else new(capability="ocr") for number in range(300)))
    instances = [await spine.instance(agent, slots=1000) for _ in range(6)]
    lanes = [f"a{agent}", "cocr"]
    taken: list[tuple[int, int]] = []

    async def claimer(own: list) -> None:
        hot = spine.database.hot("claimer")
        idle = 0
        while idle < 3:
            takers = [Taker(instance, agent, frozenset(lanes), 7) for instance in own]
            looks = [Look(lane, 14) for lane in lanes]
            round_ = await hot.run(lambda c: queue.claim(c, looks, takers))  # noqa: B023
            taken.extend((claim.task_id, claim.attempt) for claim in round_.claims)
            idle = 0 if round_.claims else idle + 1

    await asyncio.gather(*(claimer(instances[n : n + 2]) for n in (0, 2, 4)))
    assert len(taken) == len(set(taken)) == 300
    assert await spine.value("select count(*) from attempts") == 300
    assert await spine.value("select max(attempt) from agent_tasks") == 1


async def test_a_locked_head_is_passed_over(spine: Spine) -> None:
    agent = await spine.agent()
    first, second = await spine.submit(new(agent), new(agent))
    instance = await spine.instance(agent)
    async with spine.database.transaction() as connection:
        await connection.execute("select from agent_tasks where id = $1 for update", first)
        assert [claim.task_id for claim in await spine.claim(instance, credit=1)] == [second]


async def test_a_round_says_which_lanes_have_nothing_more(spine: Spine) -> None:
    agent = await spine.agent()
    await spine.submit(*(new(agent) for _ in range(3)))
    instance = await spine.instance(agent)
    lane = f"a{agent}"

    async def look(credit: int) -> queue.Round:
        taker = Taker(instance, agent, frozenset({lane}), credit)
        return await spine.on(lambda c: queue.claim(c, [Look(lane, credit)], [taker]))

    assert (await look(2)).exhausted == set()
    assert (await look(2)).exhausted == {lane}
    assert (await look(2)).exhausted == {lane}


async def test_what_the_database_holds_is_found_again_with_its_checkpoint(spine: Spine) -> None:
    agent = await spine.agent()
    await spine.submit(new(agent), new(agent))
    instance, other = await spine.instance(agent), uuid4()
    first, second = await spine.claim(instance)
    await spine.execute('update agent_tasks set progress = \'{"data": {"page": 3}}\' where id = $1', first.task_id)
    await spine.complete(second)
    held = await spine.on(lambda c: queue.held_by(c, [instance, other]))
    assert held[other] == []
    (again,) = held[instance]
    assert (again.task_id, again.attempt, again.checkpoint) == (first.task_id, 1, '{"page": 3}')
    await spine.settle(first, OutcomeKind.RELEASED)
    (third,) = await spine.claim(instance)
    assert (third.attempt, third.checkpoint) == (2, '{"page": 3}')
