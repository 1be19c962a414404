"""Claims are a hint where to look for what runs: swept when nothing of theirs runs any more, never believed alone."""

from datetime import timedelta

import pytest
from tests.support.spine import Spine, new

from workstation.domain.tasks import OutcomeKind
from workstation.store import tasks as store
from workstation.store.database import DataRefused


async def sweep(spine: Spine, limit: int = 200) -> tuple[int, list[int]]:
    looked, overdue = await spine.on(lambda c: store.sweep_claims(c, limit))
    return looked, sorted(task for task, _, _ in overdue)


async def age(spine: Spine, by: timedelta) -> None:
    await spine.execute("update claims set look_at = look_at - $1::interval, claimed_at = claimed_at - $1", by)


async def test_a_claim_is_kept_while_something_of_it_runs_and_gone_after(spine: Spine) -> None:
    agent = await spine.agent()
    await spine.submit(*(new(agent) for _ in range(3)))
    first, second, third = await spine.claim(await spine.instance(agent))
    assert await sweep(spine) == (0, [])
    await spine.complete(first)
    await spine.settle(second, OutcomeKind.RELEASED)
    await age(spine, timedelta(seconds=2))
    assert await sweep(spine) == (1, [])
    (row,) = await spine.fetch("select tasks, attempts, look_at - now() as wait from claims")
    assert (row["tasks"], row["attempts"]) == ([third.task_id], [1])
    assert timedelta(seconds=1) < row["wait"] < timedelta(seconds=3)
    await spine.complete(third)
    await age(spine, timedelta(seconds=9))
    assert await sweep(spine) == (1, [])
    assert await spine.value("select count(*) from claims") == 0


async def test_a_claim_is_looked_at_by_its_first_deadline(spine: Spine) -> None:
    agent = await spine.agent()
    await spine.submit(new(agent, timeout_ms=60_000), new(agent, timeout_ms=20_000))
    await spine.claim(await spine.instance(agent))
    await age(spine, timedelta(hours=1))
    assert await sweep(spine) == (1, [])
    assert await spine.value("select look_at < now() + interval '21 seconds' from claims")


async def test_what_is_overdue_is_told_until_it_is_settled(spine: Spine) -> None:
    agent = await spine.agent()
    await spine.submit(new(agent), new(agent))
    late, slow = await spine.claim(await spine.instance(agent))
    await spine.execute("update agent_tasks set deadline_at = now() - interval '1 ms' where id = $1", late.task_id)
    await age(spine, timedelta(seconds=2))
    assert await sweep(spine) == (1, [late.task_id])
    assert await sweep(spine) == (1, [late.task_id])
    await spine.settle(late, OutcomeKind.TIMED_OUT)
    assert await sweep(spine) == (1, [])
    assert await sweep(spine) == (0, [])
    assert await spine.value("select tasks from claims") == [slow.task_id]


async def test_an_attempt_that_a_first_replica_of_the_old_schema_opens_is_looked_after(spine: Spine) -> None:
    agent = await spine.agent()
    (task,) = await spine.submit(new(agent))
    instance = await spine.instance(agent)
    await spine.execute(
        "update agent_tasks set status = 'running', attempt = 1, instance_id = $2, started_at = now(),"
        " deadline_at = now() + interval '5 s' where id = $1",
        task,
        instance,
    )
    await spine.execute(
        "insert into task_attempts (task_id, attempt, agent_id, instance_id, claimed_at, deadline_at)"
        " values ($1, 1, $2, $3, now(), now() + interval '5 s')",
        task,
        agent,
        instance,
    )
    assert await spine.on(lambda c: store.list_running(c, [instance])) == [(instance, task, 1)]
    assert await spine.attempts(task) == [(1, None)]


async def test_every_try_is_told_once_whichever_way_it_ended(spine: Spine) -> None:
    agent = await spine.agent()
    (task,) = await spine.submit(new(agent))
    for kind in (OutcomeKind.FAILED, OutcomeKind.LOST, OutcomeKind.RELEASED, OutcomeKind.TIMED_OUT):
        await spine.execute("update agent_tasks set run_at = now()")
        (claim,) = await spine.claim(await spine.instance(agent))
        assert (await spine.attempts(task))[-1] == (claim.attempt, None)
        await spine.settle(claim, kind)
    await spine.execute("update agent_tasks set run_at = now()")
    (claim,) = await spine.claim(instance := await spine.instance(agent))
    await spine.complete(claim)
    outcomes = ["failed", "lost", "released", "timed_out", "completed"]
    assert await spine.attempts(task) == list(enumerate(outcomes, 1))
    last = (await spine.fetch("select * from attempts where task_id = $1 order by attempt", task))[-1]
    assert (last["instance_id"], last["agent_id"]) == (instance, agent)
    assert last["deadline_at"] - last["claimed_at"] == timedelta(seconds=30)
    assert last["claimed_at"] <= last["ended_at"]


async def test_a_task_of_an_agent_that_does_not_exist_cannot_be_written_by_hand(spine: Spine) -> None:
    agent = await spine.agent()
    (task,) = await spine.submit(new(agent))
    with pytest.raises(DataRefused, match="counted_agent_is_registered"):
        await spine.execute("insert into agent_tasks (agent_id, type, payload) values (999, 't', '{}')")
    with pytest.raises(DataRefused, match="counted_agent_is_registered"):
        await spine.execute("update agent_tasks set agent_id = 999 where id = $1", task)
    with pytest.raises(DataRefused, match="still referenced"):
        await spine.execute("delete from agent_registry where id = $1", agent)
