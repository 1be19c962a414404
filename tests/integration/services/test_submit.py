"""Tasks come in: all or nothing, once under a key, and handed over only to who may have them."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from tests.support.spine import Spine, new

from workstation.domain.errors import Conflict, NotFound
from workstation.services import queue
from workstation.services.queue import Unit
from workstation.store import tasks as task_store
from workstation.store.database import DataRefused
from workstation.store.tasks import Taker


async def test_a_task_is_pending_with_what_was_asked(spine: Spine) -> None:
    agent = await spine.agent()
    due = datetime(2031, 1, 1, tzinfo=UTC)
    (number,) = await spine.submit(
        new(agent, type="scrape", priority=8, max_retries=7, timeout_ms=2000, region="eu", run_at=due)
    )
    row = await spine.task(number)
    assert (row["status"], row["agent_id"], row["type"], row["priority"]) == ("pending", agent, "scrape", 8)
    assert (row["max_retries"], row["timeout_ms"], row["run_at"], row["attempt"]) == (7, 2000, due, 0)
    assert (row["lane"], row["ready"], row["rank"]) == (f"a{agent}@eu", True, 8)
    assert await spine.told("task.created") == [number]


async def test_a_batch_is_created_in_the_order_it_was_asked(spine: Spine) -> None:
    agent = await spine.agent()
    numbers = await spine.submit(*(new(agent, priority=p % 10 + 1) for p in range(200)))
    assert numbers == sorted(numbers)
    assert [(await spine.task(n))["priority"] for n in numbers[:12]] == [p % 10 + 1 for p in range(12)]


async def test_one_unknown_agent_fails_its_whole_batch_and_no_other(spine: Spine) -> None:
    agent = await spine.agent()
    with pytest.raises(NotFound):
        await spine.submit(new(agent), new(999_999))
    refused, kept = await spine.create(Unit((new(999_999),), (None,)), Unit((new(agent, type="kept"),), (None,)))
    assert isinstance(refused, NotFound) and isinstance(kept, list)
    assert [row["type"] for row in await spine.fetch("select type from agent_tasks")] == ["kept"]


async def test_a_removed_agent_gets_nothing_new(spine: Spine) -> None:
    agent = await spine.agent(removed_at=datetime.now(UTC))
    with pytest.raises(NotFound):
        await spine.submit(new(agent))


async def test_a_row_the_database_refuses_leaves_nothing_of_its_batch(spine: Spine) -> None:
    agent = await spine.agent()
    with pytest.raises(DataRefused):
        await spine.submit(new(agent), new(agent, payload='{"bad": "\\u0000"}'))
    assert await spine.value("select count(*) from agent_tasks") == 0


# -- idempotency ----------------------------------------------------------------------------------------------------


async def test_the_same_key_and_body_is_the_same_task(spine: Spine) -> None:
    agent = await spine.agent()
    task = new(agent, idempotency_key="k", request_hash=b"1")
    (first,) = await spine.submit(task)
    (answer,) = await spine.create(Unit((task,), (None,)))
    assert isinstance(answer, list)
    assert (answer[0].task_id, answer[0].replayed) == (first, True)
    assert await spine.value("select count(*) from agent_tasks") == 1


async def test_another_body_under_the_same_key_is_a_conflict(spine: Spine) -> None:
    agent = await spine.agent()
    await spine.submit(new(agent, idempotency_key="k", request_hash=b"1"))
    with pytest.raises(Conflict):
        await spine.submit(new(agent, idempotency_key="k", request_hash=b"2"))


async def test_keys_of_different_creators_do_not_meet(spine: Spine) -> None:
    agent = await spine.agent()
    (first,) = await spine.submit(new(agent, idempotency_key="k", request_hash=b"1"))
    (second,) = await spine.submit(new(agent, idempotency_key="k", request_hash=b"2", created_by="bob"))
    assert first != second


async def test_twins_in_one_batch_are_one_task(spine: Spine) -> None:
    agent = await spine.agent()
    twin = new(agent, idempotency_key="k", request_hash=b"1")
    first, second = await spine.submit(twin, twin)
    assert first == second
    assert await spine.value("select count(*) from agent_tasks") == 1


async def test_a_keyed_batch_with_a_conflict_rolls_back_whole(spine: Spine) -> None:
    agent = await spine.agent()
    await spine.submit(new(agent, idempotency_key="b", request_hash=b"1"))
    batch = [new(agent, idempotency_key=key, request_hash=b"2") for key in "abc"]
    with pytest.raises(Conflict):
        await spine.submit(*batch)
    kept = await spine.fetch("select idempotency_key from agent_tasks")
    assert [row[0] for row in kept] == ["b"]
    assert len(await spine.told("task.created")) == 1


async def test_requests_of_one_statement_with_the_same_key_are_one_task(spine: Spine) -> None:
    agent = await spine.agent()
    twin = new(agent, idempotency_key="k", request_hash=b"1")
    other = new(agent, idempotency_key="k", request_hash=b"2")
    answers = await spine.create(*(Unit((task,), (None,)) for task in (twin, twin, other)))
    first, second, third = answers
    assert isinstance(first, list) and isinstance(second, list)
    assert first[0].task_id == second[0].task_id and second[0].replayed
    assert isinstance(third, Conflict)


async def test_many_at_once_under_one_key_are_one_task(spine: Spine) -> None:
    agent = await spine.agent()
    task = new(agent, idempotency_key="k", request_hash=b"1")

    async def submit() -> int:
        async with spine.database.session() as connection:
            ids = await task_store.take_ids(connection, 1)
            (answer,) = await queue.submit(connection, [Unit((task,), (None,))], ids)
            assert isinstance(answer, list)
            return answer[0].task_id

    assert len(set(await asyncio.gather(*(submit() for _ in range(12))))) == 1


# -- hand-off -------------------------------------------------------------------------------------------------------


async def test_a_task_can_be_born_running_with_its_attempt(spine: Spine) -> None:
    agent = await spine.agent()
    instance = await spine.instance(agent)
    unit = Unit((new(agent, timeout_ms=5000),), (Taker(instance, agent),))
    (answer,) = await spine.create(unit)
    assert isinstance(answer, list) and answer[0].handed is not None
    claim = answer[0].handed
    row = await spine.task(claim.task_id)
    assert (row["status"], row["attempt"], row["instance_id"]) == ("running", 1, instance)
    assert row["deadline_at"] - row["started_at"] == timedelta(seconds=5) and claim.deadline_at == row["deadline_at"]
    assert await spine.attempts(claim.task_id) == [(1, None)]
    assert await spine.told("task.created") == await spine.told("task.started") == [claim.task_id]


@pytest.mark.parametrize(
    "change",
    [
        "update agent_registry set desired_status = 'stopped'",
        "update agent_registry set status = 'error'",
        "update agent_registry set health_status = 'unhealthy'",
        "update agent_instances set status = 'draining'",
        "update agent_instances set status = 'dead', ended_at = now()",
    ],
)
async def test_a_hand_over_that_came_too_late_leaves_the_task_pending(spine: Spine, change: str) -> None:
    agent = await spine.agent()
    instance = await spine.instance(agent)
    await spine.execute(change)
    (answer,) = await spine.create(Unit((new(agent),), (Taker(instance, agent),)))
    assert isinstance(answer, list) and answer[0].handed is None
    row = await spine.task(answer[0].task_id)
    assert (row["status"], row["attempt"], row["instance_id"], row["agent_id"]) == ("pending", 0, None, agent)


async def test_a_capability_task_that_is_handed_over_names_its_agent(spine: Spine) -> None:
    agent = await spine.agent(capabilities=["ocr"])
    instance = await spine.instance(agent)
    unit = Unit((new(capability="ocr"),), (Taker(instance, agent),))
    (answer,) = await spine.create(unit)
    assert isinstance(answer, list)
    row = await spine.task(answer[0].task_id)
    assert (row["status"], row["agent_id"], row["capability"]) == ("running", agent, "ocr")
    late = Unit((new(capability="ocr"),), (Taker(uuid4(), agent),))
    (answer,) = await spine.create(late)
    assert isinstance(answer, list)
    assert (await spine.task(answer[0].task_id))["agent_id"] is None


# -- written by hand ------------------------------------------------------------------------------------------------


async def test_the_documented_insert_of_a_task_is_right_by_itself(spine: Spine) -> None:
    agent = await spine.agent()
    number = await spine.value(
        "insert into agent_tasks (agent_id, type, payload) values ($1, 'scrape', '{\"url\": \"x\"}') returning id",
        agent,
    )
    row = await spine.task(number)
    assert (row["status"], row["priority"], row["max_retries"], row["retry_count"]) == ("pending", 5, 3, 0)
    assert (row["lane"], row["ready"], row["rank"], row["timeout_ms"]) == (f"a{agent}", True, 5, 30_000)
    (claim,) = await spine.claim(await spine.instance(agent))
    assert claim.task_id == number


@pytest.mark.parametrize(
    ("columns", "lane"),
    [
        ({"agent_id": 1}, "a1"),
        ({"agent_id": 1, "region": "eu"}, "a1@eu"),
        ({"capability": "ocr"}, "cocr"),
        ({"capability": "ocr", "region": "eu"}, "cocr@eu"),
        ({"agent_id": 1, "capability": "ocr"}, "cocr"),
    ],
)
async def test_lanes_follow_from_the_columns(spine: Spine, columns: dict[str, object], lane: str) -> None:
    await spine.agent()
    marks = ", ".join(f"${number}" for number in range(1, len(columns) + 1))
    row = await spine.fetch(
        f"insert into agent_tasks ({', '.join(columns)}, type, payload, priority) values ({marks}, 't', '{{}}', 9)"
        " returning lane, rank, ready",
        *columns.values(),
    )
    assert tuple(row[0]) == (lane, 9, True)


@pytest.mark.parametrize(
    ("statement", "constraint"),
    [
        ("insert into agent_tasks (type, payload) values ('t', '{}')", "task_names_an_agent_or_a_capability"),
        (
            "insert into agent_tasks (agent_id, type, payload, priority) values (1, 't', '{}', 11)",
            "priority_is_1_to_10",
        ),
        (
            "insert into agent_tasks (agent_id, type, payload, status) values (1, 't', '{}', 'odd')",
            "task_status_is_known",
        ),
        (
            "insert into agent_tasks (agent_id, type, payload, status, deadline_at)"
            " values (1, 't', '{}', 'running', now())",
            "held_only_while_running",
        ),
        (
            "insert into agent_tasks (agent_id, type, payload, status) values (1, 't', '{}', 'completed')",
            "final_has_its_time",
        ),
        (
            "insert into agent_tasks (agent_id, type, payload, dead_letter) values (1, 't', '{}', true)",
            "dead_letter_is_failed",
        ),
    ],
)
async def test_rows_that_cannot_be_are_refused_by_their_rule(spine: Spine, statement: str, constraint: str) -> None:
    await spine.agent()
    with pytest.raises(DataRefused) as refused:
        await spine.execute(statement)
    assert refused.value.constraint == constraint


async def test_the_documented_insert_of_an_agent_is_right_by_itself(spine: Spine) -> None:
    number = await spine.value(
        "insert into agent_registry (name, type, container_name, status, capabilities) "
        "values ('browser', 'browser', 'browser-1', 'stopped', array['navigate']) returning id"
    )
    (row,) = await spine.fetch("select * from agent_registry where id = $1", number)
    assert (row["runtime"], row["desired_status"], row["health_status"]) == ("docker", "stopped", "unknown")
    number = await spine.value("insert into agent_registry (name, type) values ('far', 'custom') returning id")
    (row,) = await spine.fetch("select * from agent_registry where id = $1", number)
    assert (row["runtime"], row["desired_status"], row["status"]) == ("external", "running", "stopped")
