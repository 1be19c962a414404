"""Attempts end: the fence, repeated and late reports, retries, releases and losses, as the database keeps them."""

import json
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import msgspec
import pytest
from tests.support.spine import Spine, new

from workstation.domain.errors import LeaseLost
from workstation.domain.tasks import Claim, OutcomeKind, Progress, Report, TaskError
from workstation.services import queue
from workstation.services.queue import Accepted
from workstation.store.database import DataRefused

FAILED, RELEASED, LOST, TIMED_OUT = OutcomeKind.FAILED, OutcomeKind.RELEASED, OutcomeKind.LOST, OutcomeKind.TIMED_OUT


@pytest.fixture
async def claim(spine: Spine) -> Claim:
    """A task under way."""
    agent = await spine.agent()
    await spine.submit(new(agent))
    (claim,) = await spine.claim(await spine.instance(agent))
    return claim


async def again(spine: Spine, claim: Claim) -> Claim:
    """The next attempt at the same task, due or not, by the same instance."""
    await spine.execute("update agent_tasks set run_at = now() where id = $1", claim.task_id)
    (next_claim,) = await spine.claim(claim.instance_id)
    assert next_claim.task_id == claim.task_id
    return next_claim


async def test_a_completed_task_keeps_its_result_and_its_times(spine: Spine, claim: Claim) -> None:
    assert await spine.complete(claim, '{"title": "x"}', usage='{"tokens": 5}') == Accepted("completed")
    row = await spine.task(claim.task_id)
    assert (row["status"], json.loads(row["result"])) == ("completed", {"title": "x"})
    assert (row["instance_id"], row["deadline_at"], row["error"]) == (None, None, None)
    assert row["completed_at"] >= row["started_at"]
    (attempt,) = await spine.fetch("select * from attempts")
    assert (attempt["outcome"], json.loads(attempt["usage"])) == ("completed", {"tokens": 5})
    assert await spine.told("task.completed") == [claim.task_id]


async def test_the_first_result_stands_when_a_report_is_repeated(spine: Spine, claim: Claim) -> None:
    await spine.complete(claim, '"first"')
    assert isinstance(await spine.complete(claim, '"second"'), Accepted)
    assert (await spine.task(claim.task_id))["result"] == '"first"'
    assert await spine.told("task.completed") == [claim.task_id]


@pytest.mark.parametrize("kind", [FAILED, RELEASED, LOST, TIMED_OUT])
async def test_every_kind_of_report_is_answered_alike_when_repeated(
    spine: Spine, claim: Claim, kind: OutcomeKind
) -> None:
    first = await spine.settle(claim, kind)
    before = await spine.task(claim.task_id)
    second = await spine.settle(claim, kind)
    assert isinstance(first, Accepted) and isinstance(second, Accepted)
    assert (first.status, first.run_at) == (second.status, second.run_at)
    assert await spine.task(claim.task_id) == before


@pytest.mark.parametrize("change", [{"instance_id": uuid4()}, {"attempt": 2}, {"attempt": 0}, {"task_id": 10**15}])
async def test_a_report_that_does_not_hold_the_lease_changes_nothing(
    spine: Spine, claim: Claim, change: dict[str, object]
) -> None:
    before = await spine.task(claim.task_id)
    assert isinstance(await spine.complete(claim, **change), LeaseLost)
    for kind in (FAILED, RELEASED, LOST, TIMED_OUT):
        assert isinstance(await spine.settle(claim, kind, **change), LeaseLost)
    assert await spine.task(claim.task_id) == before
    assert await spine.attempts(claim.task_id) == [(1, None)]


async def test_a_late_result_is_refused(spine: Spine, claim: Claim) -> None:
    await spine.settle(claim, LOST)
    second = await again(spine, claim)
    assert isinstance(await spine.complete(claim, '"late"'), LeaseLost)
    assert isinstance(await spine.complete(second, '"in time"'), Accepted)
    assert (await spine.task(claim.task_id))["result"] == '"in time"'
    assert await spine.attempts(claim.task_id) == [(1, "lost"), (2, "completed")]


async def test_another_kind_after_the_first_is_refused(spine: Spine, claim: Claim) -> None:
    await spine.complete(claim)
    assert isinstance(await spine.settle(claim, FAILED), LeaseLost)
    other = await again_after(spine, claim, RELEASED)
    assert isinstance(await spine.settle(other, FAILED), LeaseLost)


async def again_after(spine: Spine, claim: Claim, kind: OutcomeKind) -> Claim:
    """Another task, with its attempt ended by this kind."""
    await spine.submit(new(claim.agent_id))
    (other,) = await spine.claim(claim.instance_id)
    await spine.settle(other, kind)
    return other


# -- reports that travel together -----------------------------------------------------------------------------------


def done(claim: Claim, result: str = "{}", **changes: object) -> Report:
    report = Report(claim.task_id, claim.attempt, claim.instance_id, OutcomeKind.COMPLETED, result=result)
    return msgspec.structs.replace(report, **changes)  # type: ignore[arg-type]


def ended(claim: Claim, kind: OutcomeKind, **changes: object) -> Report:
    error = TaskError("no") if kind is FAILED else None
    report = Report(claim.task_id, claim.attempt, claim.instance_id, kind, error=error)
    return msgspec.structs.replace(report, **changes)  # type: ignore[arg-type]


async def test_two_instances_that_report_the_same_attempt_at_once_are_told_apart(spine: Spine, claim: Claim) -> None:
    reports = [done(claim, '"stolen"', instance_id=uuid4()), done(claim, '"mine"')]
    thief, holder = await spine.on(lambda c: queue.complete(c, reports))
    assert isinstance(thief, LeaseLost) and holder == Accepted("completed")
    assert (await spine.task(claim.task_id))["result"] == '"mine"'


async def test_two_instances_that_fail_the_same_attempt_at_once_are_told_apart(spine: Spine, claim: Claim) -> None:
    reports = [ended(claim, FAILED, instance_id=uuid4()), ended(claim, FAILED)]
    thief, holder = await spine.on(lambda c: queue.settle(c, reports, lambda: 0.0))
    assert isinstance(thief, LeaseLost)
    assert isinstance(holder, Accepted) and holder.status == "pending"
    assert (await spine.task(claim.task_id))["retry_count"] == 1


async def test_one_attempt_reported_twice_in_one_statement_is_settled_once_by_the_first(
    spine: Spine, claim: Claim
) -> None:
    first, second = await spine.on(lambda c: queue.complete(c, [done(claim, '"first"'), done(claim, '"second"')]))
    assert first == second == Accepted("completed")
    assert (await spine.task(claim.task_id))["result"] == '"first"'


async def test_two_kinds_for_one_attempt_in_one_statement_are_not_both_accepted(spine: Spine, claim: Claim) -> None:
    reports = [ended(claim, RELEASED), ended(claim, FAILED), ended(claim, RELEASED)]
    first, second, third = await spine.on(lambda c: queue.settle(c, reports, lambda: 0.0))
    assert isinstance(first, Accepted) and isinstance(third, Accepted)
    assert isinstance(second, LeaseLost)
    row = await spine.task(claim.task_id)
    assert (row["retry_count"], row["release_count"]) == (0, 1)


async def test_a_stale_attempt_beside_the_present_one_does_not_confuse_the_answers(spine: Spine, claim: Claim) -> None:
    await spine.settle(claim, RELEASED)
    second = await again(spine, claim)
    reports = [ended(claim, FAILED), ended(second, FAILED), ended(claim, RELEASED)]
    stale, present, repeated = await spine.on(lambda c: queue.settle(c, reports, lambda: 0.0))
    assert isinstance(stale, LeaseLost)
    assert isinstance(present, Accepted) and isinstance(repeated, Accepted)


async def test_many_reports_are_answered_in_the_order_they_were_asked(spine: Spine) -> None:
    agent = await spine.agent()
    await spine.submit(*(new(agent, max_retries=number % 2) for number in range(50)))
    claims = sorted(await spine.claim(await spine.instance(agent)), key=lambda claim: -claim.task_id)
    answers = await spine.on(lambda c: queue.settle(c, [ended(claim, FAILED) for claim in claims], lambda: 0.0))
    states = {row["id"]: row["status"] for row in await spine.fetch("select id, status from agent_tasks")}
    assert [answer.status for answer in answers if isinstance(answer, Accepted)] == [states[c.task_id] for c in claims]


# -- retries ------------------------------------------------------------------------------------------------------


async def test_a_failure_is_retried_after_its_backoff_and_told(spine: Spine, claim: Claim) -> None:
    answer = await spine.settle(claim, error=TaskError("no route", "Network"), jitter=0.5)
    row = await spine.task(claim.task_id)
    assert isinstance(answer, Accepted) and answer.status == row["status"] == "pending"
    assert 0.3 < answer.wait_seconds <= 0.5 and answer.run_at == row["run_at"] and answer.lane == row["lane"]
    assert json.loads(row["error"]) == {"type": "Network", "message": "no route", "attempt": 1, "retryable": True}
    assert (row["retry_count"], row["result"], row["dead_letter"], row["completed_at"]) == (1, None, False, None)
    assert await spine.told("task.retried") == [claim.task_id]
    assert await spine.claim(claim.instance_id) == []


async def test_a_task_is_tried_four_times_with_three_retries(spine: Spine, claim: Claim) -> None:
    for _ in range(3):
        await spine.settle(claim)
        claim = await again(spine, claim)
    answer = await spine.settle(claim, error=TaskError("boom"))
    row = await spine.task(claim.task_id)
    assert isinstance(answer, Accepted) and answer.status == row["status"] == "failed"
    assert (row["attempt"], row["retry_count"], row["dead_letter"]) == (4, 3, True)
    assert json.loads(row["result"]) == {"success": False, "error": "boom"}
    assert await spine.attempts(claim.task_id) == [(n, "failed") for n in (1, 2, 3, 4)]
    assert await spine.told("task.failed") == [claim.task_id]


async def test_an_error_that_is_not_retryable_goes_straight_to_the_dead_letter(spine: Spine, claim: Claim) -> None:
    await spine.settle(claim, error=TaskError("bad input", retryable=False))
    row = await spine.task(claim.task_id)
    assert (row["status"], row["dead_letter"], row["attempt"]) == ("failed", True, 1)


async def test_the_agent_may_name_the_wait_itself(spine: Spine, claim: Claim) -> None:
    await spine.settle(claim, error=TaskError("busy", retry_after=timedelta(hours=2)))
    wait = (await spine.task(claim.task_id))["run_at"] - datetime.now(UTC)
    assert timedelta(minutes=119) < wait <= timedelta(hours=2)


async def test_a_timeout_counts_like_a_failure(spine: Spine, claim: Claim) -> None:
    await spine.settle(claim, TIMED_OUT, TaskError("too long", "timed_out"))
    row = await spine.task(claim.task_id)
    assert (row["status"], row["retry_count"]) == ("pending", 1)
    assert await spine.attempts(claim.task_id) == [(1, "timed_out")]


async def test_a_success_after_failures_forgets_the_error(spine: Spine, claim: Claim) -> None:
    await spine.settle(claim)
    claim = await again(spine, claim)
    await spine.complete(claim, "[1]")
    row = await spine.task(claim.task_id)
    assert (row["status"], row["error"], row["result"], row["retry_count"]) == ("completed", None, "[1]", 1)


async def test_an_error_message_with_a_nul_fails_the_attempt_all_the_same(spine: Spine, claim: Claim) -> None:
    answer = await spine.settle(claim, error=TaskError("a\0b", "Odd\0"))
    assert isinstance(answer, Accepted) and answer.status == "pending"
    error = json.loads((await spine.task(claim.task_id))["error"])
    assert (error["message"], error["type"]) == ("a\ufffdb", "Odd\ufffd")


async def test_an_error_message_with_a_lone_surrogate_fails_the_attempt_all_the_same(
    spine: Spine, claim: Claim
) -> None:
    answer = await spine.settle(claim, error=TaskError("a\ud800b"))
    assert isinstance(answer, Accepted) and answer.status == "pending"
    assert json.loads((await spine.task(claim.task_id))["error"])["message"] == "a\ufffdb"


# -- released and lost ----------------------------------------------------------------------------------------------


async def test_ten_releases_are_free_and_the_eleventh_waits(spine: Spine, claim: Claim) -> None:
    for _ in range(10):
        answer = await spine.settle(claim, RELEASED, jitter=0.5)
        assert isinstance(answer, Accepted) and answer.wait_seconds == 0
        (claim,) = await spine.claim(claim.instance_id)
    answer = await spine.settle(claim, RELEASED, jitter=0.5)
    assert isinstance(answer, Accepted) and 0.8 < answer.wait_seconds <= 1
    row = await spine.task(claim.task_id)
    assert (row["retry_count"], row["lost_count"], row["attempt"], row["error"]) == (0, 0, 11, None)
    assert len(await spine.told("task.released")) == 11


async def test_the_third_loss_is_poison(spine: Spine, claim: Claim) -> None:
    for losses in (1, 2):
        await spine.settle(claim, LOST)
        row = await spine.task(claim.task_id)
        assert (row["status"], row["lost_count"], row["retry_count"]) == ("pending", losses, 0)
        (claim,) = await spine.claim(claim.instance_id)
        assert claim.suspect
    await spine.settle(claim, LOST)
    row = await spine.task(claim.task_id)
    assert (row["status"], row["dead_letter"], row["lost_count"]) == ("failed", True, 3)
    assert json.loads(row["error"])["type"] == "poison"
    assert json.loads(row["result"])["success"] is False
    assert len(await spine.told("task.lost")) == 2 and await spine.told("task.failed") == [claim.task_id]


async def test_a_loss_in_an_outage_is_not_charged(spine: Spine, claim: Claim) -> None:
    for _ in range(5):
        await spine.settle(claim, LOST, charged=False)
        (claim,) = await spine.claim(claim.instance_id)
    assert (await spine.task(claim.task_id))["lost_count"] == 0


async def test_a_task_given_back_keeps_its_place_in_the_queue(spine: Spine, claim: Claim) -> None:
    before = (await spine.task(claim.task_id))["run_at"]
    (younger,) = await spine.submit(new(claim.agent_id))
    await spine.settle(claim, RELEASED)
    row = await spine.task(claim.task_id)
    assert row["run_at"] == before
    assert [c.task_id for c in await spine.claim(claim.instance_id, credit=1)] == [claim.task_id] != [younger]


# -- what cannot be stored ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("result", ['"\\u0000"', '"\\ud800"', "1e999999", "{", "[" * 50_000 + "]" * 50_000])
async def test_a_result_the_database_will_not_take_is_refused_as_data(spine: Spine, claim: Claim, result: str) -> None:
    with pytest.raises(DataRefused):
        await spine.complete(claim, result)
    assert (await spine.task(claim.task_id))["status"] == "running"


# -- progress -------------------------------------------------------------------------------------------------------


async def test_progress_keeps_the_last_checkpoint(spine: Spine, claim: Claim) -> None:
    def at(**fields: object) -> Progress:
        return Progress(claim.task_id, 1, claim.instance_id, **fields)  # type: ignore[arg-type]

    assert await spine.on(lambda c: queue.record_progress(c, [at(percent=10.0, data='{"page": 1}')])) == [None]
    assert await spine.on(lambda c: queue.record_progress(c, [at(percent=20.0, message="half")])) == [None]
    progress = json.loads((await spine.task(claim.task_id))["progress"])
    assert (progress["percent"], progress["message"], progress["data"]) == (20, "half", {"page": 1})


async def test_progress_of_a_lost_attempt_is_refused(spine: Spine, claim: Claim) -> None:
    await spine.settle(claim, LOST)
    late = Progress(claim.task_id, 1, claim.instance_id, 50.0)
    (answer,) = await spine.on(lambda c: queue.record_progress(c, [late]))
    assert isinstance(answer, LeaseLost)
    assert (await spine.task(claim.task_id))["progress"] is None
