"""Cancel, redrive, look: who may, from where, and what it leaves behind."""

import asyncio
import json
from typing import Any

import pytest
from tests.support.spine import Spine, new

from workstation.domain.assign import Taker
from workstation.domain.errors import Conflict, Forbidden, LeaseLost, NotFound
from workstation.domain.principal import Principal, Role
from workstation.domain.tasks import OutcomeKind, TaskError
from workstation.services import queue, tasks
from workstation.store.tasks import Look, TaskFilter

ADMIN = Principal("root", Role.ADMIN)
ALICE = Principal("alice", Role.USER)
BOB = Principal("bob", Role.USER)


async def test_a_cancelled_pending_task_never_starts(spine: Spine) -> None:
    agent = await spine.agent()
    (number,) = await spine.submit(new(agent))
    assert await tasks.cancel(spine.database, number, ALICE) == tasks.Cancelled(0, None)
    row = await spine.task(number)
    assert row["status"] == "cancelled" and row["completed_at"] is not None
    assert await spine.claim(await spine.instance(agent)) == []
    assert await spine.told("task.cancelled") == [number]


async def test_a_running_task_is_cancelled_at_once_and_its_result_refused(spine: Spine) -> None:
    agent = await spine.agent()
    (number,) = await spine.submit(new(agent))
    instance = await spine.instance(agent)
    (claim,) = await spine.claim(instance)
    assert await tasks.cancel(spine.database, number, ALICE) == tasks.Cancelled(1, instance)
    row = await spine.task(number)
    assert (row["status"], row["instance_id"], row["deadline_at"]) == ("cancelled", None, None)
    assert await spine.attempts(number) == [(1, "cancelled")]
    assert isinstance(await spine.complete(claim), LeaseLost)
    assert isinstance(await spine.settle(claim), LeaseLost)
    assert (await spine.task(number))["status"] == "cancelled"


async def test_a_waiting_task_can_be_cancelled(spine: Spine) -> None:
    agent = await spine.agent()
    number = await spine.value(
        "insert into agent_tasks (agent_id, type, payload, status, created_by)"
        " values ($1, 't', '{}', 'waiting', 'alice') returning id",
        agent,
    )
    await tasks.cancel(spine.database, number, ALICE)
    assert (await spine.task(number))["status"] == "cancelled"


@pytest.mark.parametrize("end", ["completed", "failed", "cancelled"])
async def test_what_is_final_cannot_be_cancelled(spine: Spine, end: str) -> None:
    number = await finished(spine, end)
    before = await spine.task(number)
    with pytest.raises(Conflict, match=end):
        await tasks.cancel(spine.database, number, ALICE)
    assert await spine.task(number) == before


@pytest.mark.parametrize("state", ["pending", "running", "completed", "cancelled"])
async def test_only_a_failed_task_is_redriven(spine: Spine, state: str) -> None:
    agent = await spine.agent()
    if state == "pending":
        (number,) = await spine.submit(new(agent))
    elif state == "running":
        (number,) = await spine.submit(new(agent))
        await spine.claim(await spine.instance(agent))
    else:
        number = await finished(spine, state)
    before = await spine.task(number)
    with pytest.raises(Conflict, match=state):
        await tasks.redrive(spine.database, number, ALICE)
    assert await spine.task(number) == before


async def test_a_redriven_task_starts_from_zero_but_its_attempts_count_on(spine: Spine) -> None:
    number = await finished(spine, "failed")
    await spine.execute(
        "update agent_tasks set retry_count = 3, lost_count = 2, release_count = 9 where id = $1", number
    )
    lane = await tasks.redrive(spine.database, number, ALICE)
    row = await spine.task(number)
    assert (row["status"], row["retry_count"], row["lost_count"], row["release_count"]) == ("pending", 0, 0, 0)
    assert (row["dead_letter"], row["result"], row["completed_at"], row["lane"]) == (False, None, None, lane)
    instance = await spine.instance(row["agent_id"])
    (claim,) = await spine.claim(instance)
    assert claim.attempt == 2
    await spine.complete(claim)
    assert await spine.attempts(number) == [(1, "failed"), (2, "completed")]


async def test_a_redriven_capability_task_may_go_to_another_agent(spine: Spine) -> None:
    first = await spine.agent(capabilities=["ocr"])
    (number,) = await spine.submit(new(capability="ocr", max_retries=0))
    (claim,) = await spine.claim(await spine.instance(first))
    await spine.settle(claim)
    assert await tasks.redrive(spine.database, number, ALICE) == "cocr"
    assert (await spine.task(number))["agent_id"] is None


async def test_dead_letters_are_listed_until_they_are_redriven(spine: Spine) -> None:
    number = await finished(spine, "failed")
    dead = TaskFilter(dead_letter=True)
    assert [row["id"] for row in (await tasks.list_tasks(spine.database, dead, 10, ALICE)).tasks] == [number]
    await tasks.redrive(spine.database, number, ALICE)
    assert (await tasks.list_tasks(spine.database, dead, 10, ALICE)).tasks == []


async def test_others_may_not_even_know_of_a_task(spine: Spine) -> None:
    number = await finished(spine, "failed")
    stranger = Principal("agent:77", Role.AGENT, 77)
    for who in (BOB, stranger):
        for verb in (tasks.get_task, tasks.cancel, tasks.redrive, tasks.list_attempts, tasks.explain_task):
            with pytest.raises(NotFound):
                await verb(spine.database, number, who)
    viewer = Principal("watcher", Role.VIEWER)
    assert (await tasks.get_task(spine.database, number, viewer))["id"] == number
    for verb in (tasks.cancel, tasks.redrive):
        with pytest.raises(Forbidden):
            await verb(spine.database, number, viewer)
    assert await tasks.redrive(spine.database, number, ADMIN)


async def test_pages_meet_without_gap_or_overlap(spine: Spine) -> None:
    agent = await spine.agent()
    numbers = await spine.submit(*(new(agent, created_by="alice" if n % 2 else "bob") for n in range(25)))
    seen: list[int] = []
    before = None
    while True:
        page = await tasks.list_tasks(spine.database, TaskFilter(before=before), 5, ALICE)
        seen += [row["id"] for row in page.tasks]
        if page.next is None:
            break
        before = page.next
    assert seen == sorted(numbers[1::2], reverse=True)
    assert (await tasks.list_tasks(spine.database, TaskFilter(created_by="bob"), 5, ALICE)).tasks == []


async def test_an_explanation_asks_the_gates_of_the_claim(spine: Spine) -> None:
    agent = await spine.agent("browser", status="stopped", desired_status="stopped")
    first, number = await spine.submit(new(agent), new(agent))

    async def held_by() -> Any:
        return (await tasks.explain_task(spine.database, number, ALICE)).held_by

    assert await held_by() == "agent_stopped"
    await spine.execute("update agent_registry set desired_status = 'running'")
    assert await held_by() == "agent_not_running"
    await spine.execute("update agent_registry set status = 'running', health_status = 'unhealthy'")
    assert await held_by() == "agent_unhealthy"
    await spine.execute("update agent_registry set health_status = 'healthy'")
    assert await held_by() == "no_instance"
    instance = await spine.instance(agent, slots=1)
    explained = await tasks.explain_task(spine.database, number, ALICE)
    assert explained.held_by is None and "1 tasks are ahead" in explained.summary
    (claim,) = await spine.claim(instance, credit=1)
    assert claim.task_id == first and await held_by() == "no_free_slot"
    await spine.execute("update agent_instances set slots = 2")
    await spine.execute("update agent_tasks set lost_count = 1")
    assert await held_by() == "suspect_running"
    await spine.complete(claim)
    await spine.execute("update agent_tasks set run_at = now() + interval '1 hour' where id = $1", number)
    assert await held_by() == "not_due"


async def test_an_explanation_knows_regions_and_types(spine: Spine) -> None:
    agent = await spine.agent(capabilities=["ocr"], task_types=json.dumps({"a": None}))
    await spine.instance(agent, region="us")
    (far,) = await spine.submit(new(agent, region="eu"))
    (odd,) = await spine.submit(new(capability="ocr", type="b"))
    assert (await tasks.explain_task(spine.database, far, ALICE)).held_by == "no_region"
    assert (await tasks.explain_task(spine.database, odd, ALICE)).held_by == "unknown_type"


async def test_an_instance_finds_its_region_in_its_agent_when_explained(spine: Spine) -> None:
    agent = await spine.agent(region="eu")
    await spine.instance(agent)
    (number,) = await spine.submit(new(agent, region="eu"))
    assert (await tasks.explain_task(spine.database, number, ALICE)).held_by is None


async def finished(spine: Spine, end: str) -> int:
    """A task of alice's in a final state."""
    agent = await spine.agent()
    (number,) = await spine.submit(new(agent))
    if end == "cancelled":
        await tasks.cancel(spine.database, number, ALICE)
        return number
    (claim,) = await spine.claim(await spine.instance(agent))
    if end == "completed":
        await spine.complete(claim)
    else:
        await spine.settle(claim, OutcomeKind.FAILED, TaskError("boom", retryable=False))
    return number


async def test_a_cancel_that_meets_a_claim_under_way_ends_the_attempt(spine: Spine) -> None:
    agent = await spine.agent()
    (number,) = await spine.submit(new(agent))
    instance = await spine.instance(agent)
    taker = Taker(instance, agent, (f"a{agent}",), 1, None, False, False)
    async with spine.database.transaction() as connection:
        claimed = await queue.claim(connection, [Look(f"a{agent}", 1, True, None)], [taker])
        assert len(claimed.claims) == 1
        cancelling = asyncio.create_task(tasks.cancel(spine.database, number, ALICE))
        await asyncio.sleep(0.2)
        assert not cancelling.done(), "the cancel did not wait for the claim"
    assert await cancelling == tasks.Cancelled(1, instance)
    assert await spine.attempts(number) == [(1, "cancelled")]
    assert (await spine.task(number))["status"] == "cancelled"
