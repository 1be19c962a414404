"""Frames both ways: tasks out, reports in, each answered by itself."""

import asyncio
import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from msgspec import UNSET, Raw
from tests.integration.gateway.conftest import Gate
from tests.support.spine import until
from tests.support.wire import Wire

from workstation.api.gateway import frames
from workstation.domain.principal import Principal, Role
from workstation.domain.tasks import OutcomeKind
from workstation.services import tasks
from workstation.store.agents import HealthReport

ADMIN = Principal("root", Role.ADMIN)


async def working(gate: Gate, n: int = 1, **fields: Any) -> tuple[Wire, list[int]]:
    """A connected agent that was given so many tasks."""
    agent = await gate.spine.agent()
    wire = await gate.connect(agent)
    numbers = await gate.submit(agent, n, **fields)
    await wire.hear_items("tasks", n)
    return wire, numbers


def item(number: int, attempt: int = 1, **fields: Any) -> dict[str, Any]:
    return {"task": str(number), "attempt": attempt, **fields}


async def test_a_task_arrives_with_all_its_fields(gate: Gate) -> None:
    wire, (number,) = await working(gate, type="scrape", payload='{"a": [1, 2]}', priority=7, timeout_ms=1500)
    (task,) = wire.items("tasks")
    assert task.pop("deadline_at").endswith("Z")
    assert task == {
        "id": str(number),
        "type": "scrape",
        "payload": {"a": [1, 2]},
        "attempt": 1,
        "priority": 7,
        "timeout_ms": 1500,
    }


async def test_a_result_is_settled_and_its_slot_is_free(gate: Gate) -> None:
    wire, (number,) = await working(gate)
    wire.say("done", items=[item(number, result={"title": "x"}, usage={"tokens": 3})])
    (settled,) = await wire.hear_items("settled")
    assert settled == {"task": str(number), "attempt": 1, "kind": "done", "status": "completed"}
    assert json.loads((await gate.spine.task(number))["result"]) == {"title": "x"}
    assert await gate.credit(wire) == 10


@pytest.mark.parametrize("result", [None, 0, "", [], {"deep": [[[]]]}, "\u2028\U0001f600"])
async def test_every_json_value_is_a_result(gate: Gate, result: Any) -> None:
    wire, (number,) = await working(gate)
    wire.say("done", items=[item(number, result=result)])
    await wire.hear_items("settled")
    assert json.loads((await gate.spine.task(number))["result"]) == result


async def test_the_same_report_again_is_answered_alike(gate: Gate) -> None:
    wire, (number,) = await working(gate)
    wire.say("done", items=[item(number, result=1)])
    wire.say("done", items=[item(number, result=2)])
    answers = await wire.hear_items("settled", 2)
    assert [answer["status"] for answer in answers] == ["completed", "completed"]
    assert (await gate.spine.task(number))["result"] == "1" and await gate.credit(wire) == 10


async def test_a_report_on_what_is_not_held_is_refused_for_good(gate: Gate) -> None:
    wire, (number,) = await working(gate)
    wire.say("done", items=[item(number, 2, result=1), item(10**15, result=1)])
    wire.say("fail", items=[item(number, 0, error={"message": "x"})])
    wire.say("release", items=[item(number, 3)])
    answers = await wire.hear_items("settled", 4)
    assert {answer["code"] for answer in answers} == {"lease_lost"}
    assert (await gate.spine.task(number))["status"] == "running" and await gate.credit(wire) == 9


async def test_failures_and_releases_are_answered_with_what_becomes_of_the_task(gate: Gate) -> None:
    wire, (retried, final, released) = await working(gate, 3)
    wire.say(
        "fail",
        items=[
            item(retried, error={"message": "busy", "type": "Busy", "retry_after_ms": 60_000}),
            item(final, error={"message": "never", "retryable": False}),
        ],
    )
    wire.say("release", items=[item(released)])
    answers = {int(answer["task"]): answer for answer in await wire.hear_items("settled", 3)}
    assert (answers[retried]["kind"], answers[retried]["status"]) == ("fail", "pending")
    assert answers[final]["status"] == "failed"
    assert (answers[released]["kind"], answers[released]["status"]) == ("release", "pending")
    assert json.loads((await gate.spine.task(retried))["error"])["type"] == "Busy"


async def test_a_released_task_may_come_again_under_the_next_attempt(gate: Gate) -> None:
    wire, (number,) = await working(gate)
    wire.say("release", items=[item(number)])
    items = await wire.hear_items("tasks", 2)
    assert [(task["id"], task["attempt"]) for task in items] == [(str(number), 1), (str(number), 2)]


async def test_a_result_over_the_limit_fails_that_attempt_alone(gate: Gate) -> None:
    wire, (large, small) = await working(gate, 2)
    wire.say("done", items=[item(large, result="x" * (1024 * 1024)), item(small, result="y" * (1024 * 1024 - 2))])
    answers = {int(answer["task"]): answer for answer in await wire.hear_items("settled", 2)}
    assert answers[large]["code"] == "too_large" and answers[small]["status"] == "completed"
    row = await gate.spine.task(large)
    assert (row["status"], row["dead_letter"]) == ("failed", True)
    assert "store it elsewhere" in json.loads(row["error"])["message"]


async def test_results_that_cannot_be_stored_fail_alone(gate: Gate) -> None:
    wire, (nul, surrogate, fine) = await working(gate, 3)
    results = [item(number, result=result) for number, result in ((nul, "\0"), (surrogate, "\ud800"), (fine, "ok"))]
    wire.say("done", items=results)
    answers = {int(answer["task"]): answer for answer in await wire.hear_items("settled", 3)}
    assert answers[nul]["code"] == answers[surrogate]["code"] == "validation_failed"
    assert answers[fine]["status"] == "completed"
    assert [(await gate.spine.task(number))["status"] for number in (nul, surrogate)] == ["failed", "failed"]
    assert await gate.credit(wire) == 10


async def test_an_error_text_that_cannot_be_stored_still_fails_its_attempt(gate: Gate) -> None:
    wire, (number,) = await working(gate)
    wire.say("fail", items=[item(number, error={"message": "a\0b"})])
    (settled,) = await wire.hear_items("settled")
    assert settled["status"] == "pending"


async def test_progress_is_kept_and_a_lost_attempt_is_told_to_stop(gate: Gate) -> None:
    wire, (kept, lost) = await working(gate, 2)
    (claim,) = [c for c in await gate.house.dispatcher.leases.held_by(wire.instance) if c.task_id == lost]
    await gate.spine.settle(claim, OutcomeKind.LOST)
    wire.say("progress", items=[item(kept, percent=40, message="half", data={"page": 2}), item(lost, percent=1)])
    (cancelled,) = await wire.hear_items("cancel")
    assert cancelled == {"task": str(lost), "attempt": 1, "reason": "lease_lost"}
    progress = json.loads((await gate.spine.task(kept))["progress"])
    assert (progress["percent"], progress["message"], progress["data"]) == (40, "half", {"page": 2})


async def test_a_cancel_is_pushed_and_the_slot_is_free_at_once(gate: Gate) -> None:
    wire, (number,) = await working(gate)
    done = await tasks.cancel(gate.spine.database, number, ADMIN)
    gate.house.dispatcher.cancelled(number, done.attempt, done.instance_id)
    (cancelled,) = await wire.hear_items("cancel")
    assert cancelled == {"task": str(number), "attempt": 1, "reason": "cancelled"}
    assert await gate.credit(wire) == 10
    wire.say("done", items=[item(number, result=1)])
    (settled,) = await wire.hear_items("settled")
    assert settled["code"] == "lease_lost" and await gate.credit(wire) == 10


# -- credit ---------------------------------------------------------------------------------------------------------


async def test_credit_can_be_taken_back_and_given_again(gate: Gate) -> None:
    agent = await gate.spine.agent()
    wire = await gate.connect(agent, slots=1)
    wire.say("credit", n=-1)
    await until(lambda: gate.session(wire).credit == 0)
    (number,) = await gate.submit(agent)
    assert (await gate.spine.task(number))["status"] == "pending"
    wire.say("credit", n=1)
    (task,) = await wire.hear_items("tasks")
    assert task["id"] == str(number)


# -- frames that are not what they should be ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '"hello"',
        '{"no": "kind"}',
        '{"kind": "done"}',
        '{"kind": "done", "items": [{"task": "x", "attempt": 1, "result": 1}]}',
        '{"kind": "done", "items": [{"task": "1", "attempt": -1, "result": 1}]}',
        '{"kind": "done", "items": "x"}',
        '{"kind": "fail", "items": [{"task": "1", "attempt": 1}]}',
        '{"kind": "credit", "n": 1e9}',
        '{"kind": "heartbeat", "healthStatus": "splendid"}',
        '{"kind": "done", "items": [{"task": "1", "attempt": 1, "result": ' + "[" * 5000 + "]" * 5000 + "}]}",
        '{"kind": "progress", "items": [{"task": "1", "attempt": 1, "percent": 101}]}',
    ],
)
async def test_a_frame_that_cannot_be_read_is_answered_and_the_connection_stays(gate: Gate, text: str) -> None:
    wire, (number,) = await working(gate)
    wire.say_text(text)
    (problem,) = await wire.hear("error")
    assert problem["code"] == "validation_failed"
    wire.say("done", items=[item(number, result=1)])
    await wire.hear_items("settled")
    assert wire.closed is None


async def test_frames_of_unknown_kinds_are_ignored(gate: Gate) -> None:
    wire, (number,) = await working(gate)
    wire.say("subscribe", topics=["x"])
    wire.say("done", items=[item(number, result=1)])
    await wire.hear_items("settled")
    assert wire.frames("error") == []


async def test_binary_messages_are_read_as_utf_8_or_answered(gate: Gate) -> None:
    wire, (number,) = await working(gate)
    wire.say_bytes(b'{"kind": "bye\xff"}')
    await wire.hear("error")
    wire.say_bytes(json.dumps({"kind": "done", "items": [item(number, result="ü")]}).encode())
    (settled,) = await wire.hear_items("settled")
    assert settled["status"] == "completed"


# -- heartbeats -----------------------------------------------------------------------------------------------------


async def test_health_reaches_the_registry(gate: Gate) -> None:
    agent = await gate.spine.agent()
    wire = await gate.connect(agent)
    wire.say("heartbeat", holding=[], healthStatus="degraded", metadata={"cpu": 97})

    async def kept() -> bool:
        (row,) = await gate.spine.fetch("select health_status, health_metadata from agent_registry")
        return row["health_status"] == "degraded" and json.loads(row["health_metadata"] or "{}") == {"cpu": 97}

    await until(kept)


async def test_health_that_is_no_news_to_the_registry_waits_for_that_of_others(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    leases = gate.house.dispatcher.leases
    at_once: list[HealthReport] = []

    async def keep(report: HealthReport) -> bool:
        at_once.append(report)
        return True

    monkeypatch.setattr(leases, "report_health", keep)
    wires = [await gate.connect(await gate.spine.agent(health_status=word)) for word in ("healthy", "degraded")]
    for wire in wires:
        wire.say("heartbeat", holding=[], healthStatus="healthy")

    async def kept() -> list[bool]:
        await leases.keep_noted_health()
        rows = await gate.spine.fetch("select health_reported_at is not null as kept from agent_registry order by id")
        return [row["kept"] for row in rows]

    async def noted() -> bool:
        return await kept() == [True, False]

    await until(noted)
    await until(lambda: [report.word for report in at_once] == ["healthy"])


async def test_what_the_instance_lost_hold_of_is_cancelled_at_its_heartbeat(gate: Gate) -> None:
    wire, (number,) = await working(gate)
    (claim,) = await gate.house.dispatcher.leases.held_by(wire.instance)
    await gate.spine.settle(claim, OutcomeKind.TIMED_OUT)
    gate.session(wire).doubtful = True
    wire.say("heartbeat", holding=[item(number)])
    (cancelled,) = await wire.hear_items("cancel")
    assert cancelled == {"task": str(number), "attempt": 1, "reason": "lease_lost"}
    assert await gate.credit(wire) == 10


async def test_a_slot_is_free_again_when_another_replica_ended_the_attempt_and_the_agent_dropped_it(
    gate: Gate,
) -> None:
    wire, (_number,) = await working(gate)
    (claim,) = await gate.house.dispatcher.leases.held_by(wire.instance)
    await gate.spine.settle(claim, OutcomeKind.TIMED_OUT)
    wire.say("heartbeat", holding=[])
    await until(lambda: gate.session(wire).credit == 10)
    assert wire.frames("cancel") == []


async def test_with_other_replicas_a_cancel_reaches_the_agent_by_its_heartbeat_even_without_a_hint(
    gate: Gate,
) -> None:
    wire, (number,) = await working(gate)
    wire.say("heartbeat", holding=[item(number)])
    await until(lambda: not gate.session(wire).doubtful)
    await gate.spine.execute(
        "insert into nodes (id, version, lease_expires_at) values (gen_random_uuid(), '1', now() + interval '1 hour')"
    )
    await gate.house.dispatcher.poll_once()
    await tasks.cancel(gate.spine.database, number, ADMIN)
    wire.say("heartbeat", holding=[item(number)])
    (cancelled,) = await wire.hear_items("cancel")
    assert cancelled["task"] == str(number)


async def test_a_claim_that_got_lost_on_its_way_is_sent_by_the_second_heartbeat(gate: Gate) -> None:
    agent = await gate.spine.agent()
    wire = await gate.connect(agent)
    number = await gate.spine.value(
        "insert into agent_tasks (agent_id, type, payload, run_at) values ($1, 't', '{}', now()) returning id", agent
    )
    # Committed, and nobody here heard of it.
    (claim,) = await gate.spine.claim(wire.instance)
    assert claim.task_id == number
    gate.session(wire).doubtful = True
    for _ in range(2):
        wire.say("heartbeat", holding=[])
        await gate.house.quiet()
        await gate.house.dispatcher.leases.attempts_of(wire.instance)
    (task,) = await wire.hear_items("tasks")
    assert (task["id"], task["attempt"]) == (str(number), 1)
    assert await gate.credit(wire) == 9
    wire.say("done", items=[item(number, result=1)])
    await wire.hear_items("settled")
    assert await gate.credit(wire) == 10


async def test_a_report_under_way_is_not_taken_for_a_lost_task(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    wire, (number,) = await working(gate)
    settler = gate.house.dispatcher.settler
    report_all, go = settler.report_all, asyncio.Event()

    async def slow(reports: Any) -> Any:
        await go.wait()
        return await report_all(reports)

    monkeypatch.setattr(settler, "report_all", slow)
    wire.say("done", items=[item(number, result=1)])
    for holding in ([item(number)], [], [], []):
        gate.session(wire).doubtful = True
        wire.say("heartbeat", holding=holding)
        await until(lambda: not gate.session(wire).doubtful)
        await gate.house.dispatcher.leases.attempts_of(wire.instance)
    go.set()
    (settled,) = await wire.hear_items("settled")
    assert settled["status"] == "completed"
    assert len(wire.items("tasks")) == 1 and await gate.credit(wire) == 10


# -- how claims are cut into frames ---------------------------------------------------------------------------------


def task_item(number: int, payload: bytes = b"{}") -> frames.TaskItem:
    return frames.TaskItem(str(number), "t", Raw(payload), 1, 5, 1000, datetime(2026, 1, 1, tzinfo=UTC), UNSET)


def test_frames_hold_at_most_so_many_tasks_and_keep_their_order() -> None:
    made = list(frames.in_frames(map(task_item, range(1201))))
    assert [len(frame.items) for frame in made] == [500, 500, 201]
    assert [int(each.id) for frame in made for each in frame.items] == list(range(1201))
    assert list(frames.in_frames([])) == []


def test_frames_stay_below_the_limit_of_a_message() -> None:
    half = b'"' + b"x" * (frames.FRAME_LIMIT // 4) + b'"'
    made = list(frames.in_frames(task_item(number, half) for number in range(5)))
    assert [len(frame.items) for frame in made] == [1, 1, 1, 1, 1]
    huge = b'"' + b"x" * frames.FRAME_LIMIT + b'"'
    assert [len(frame.items) for frame in frames.in_frames([task_item(1), task_item(2, huge), task_item(3)])] == [
        1,
        1,
        1,
    ]


def test_an_instance_is_a_uuid_whatever_its_case() -> None:
    hello = frames.read_hello('{"kind": "hello", "instance": "5F1D7E5E-6F0C-4E0B-9A35-0C2D8B7C1A11"}')
    assert UUID(hello.instance) == UUID("5f1d7e5e-6f0c-4e0b-9a35-0c2d8b7c1a11")
