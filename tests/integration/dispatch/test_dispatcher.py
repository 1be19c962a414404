"""Tasks reach sessions: by hand-off or claim, in order, with credit that is never lost."""

import asyncio
import random
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.support.floor import House, Peer, open_house
from tests.support.spine import Spine, new, until

from workstation.dispatch import waiters
from workstation.domain.errors import Conflict, LeaseLost, NotFound, Unavailable, ValidationFailed
from workstation.domain.principal import Principal, Role
from workstation.domain.tasks import OutcomeKind, Progress, Report, TaskError
from workstation.services import agents, tasks

ADMIN = Principal("root", Role.ADMIN)
FAILED, RELEASED = OutcomeKind.FAILED, OutcomeKind.RELEASED


async def submit(house: House, *wanted: Any) -> list[int]:
    return [each.task_id for each in await house.dispatcher.submitter.submit(wanted)]


# -- hand-off -------------------------------------------------------------------------------------------------------


async def test_a_new_task_goes_to_a_free_session_as_it_is_created(house: House, spine: Spine) -> None:
    agent = await spine.agent()
    peer = await house.connect(agent)
    await house.looked(f"a{agent}")
    (number,) = await submit(house, new(agent))
    assert peer.numbers == [number] and await peer.credit() == 9
    assert (await spine.task(number))["status"] == "running"


async def test_nothing_is_handed_over_past_a_task_that_waits(house: House, spine: Spine) -> None:
    agent = await spine.agent()
    peer = await house.connect(agent, slots=1)
    await house.looked(f"a{agent}")
    first, second = await submit(house, new(agent), new(agent))
    third, fourth = await submit(house, new(agent), new(agent, priority=9))
    for expected in ([first], [first, fourth], [first, fourth, second], [first, fourth, second, third]):
        await peer.given(len(expected))
        assert peer.numbers == expected
        await peer.end(peer.delivered[-1])


async def test_a_task_in_another_lane_of_the_session_is_not_overtaken(house: House, spine: Spine) -> None:
    agent = await spine.agent(capabilities=["ocr"])
    peer = await house.connect(agent, slots=1)
    await house.looked(f"a{agent}", "cocr")
    (first,) = await submit(house, new(agent))
    (urgent,) = await submit(house, new(capability="ocr", priority=10))
    await house.quiet()
    house.dispatcher.returned(peer.session, first, 1)
    (late,) = await submit(house, new(agent, priority=1))
    await peer.given(2)
    assert peer.numbers == [first, urgent]
    assert (await spine.task(late))["status"] == "pending"


async def test_a_task_for_later_is_not_handed_over_but_comes_when_due(house: House, spine: Spine) -> None:
    agent = await spine.agent()
    peer = await house.connect(agent)
    await house.looked(f"a{agent}")
    (number,) = await submit(house, new(agent, run_at=datetime.now(UTC) + timedelta(seconds=0.3)))
    assert peer.numbers == []
    await peer.given(1, within=3)
    assert peer.numbers == [number]


async def test_a_batch_is_handed_over_as_far_as_there_is_room(house: House, spine: Spine) -> None:
    agent = await spine.agent()
    peer = await house.connect(agent, slots=3)
    await house.looked(f"a{agent}")
    numbers = await submit(house, *(new(agent) for _ in range(5)))
    assert peer.numbers == numbers[:3] and peer.session.credit == 0
    await peer.end(peer.delivered[0])
    await peer.given(4)
    assert peer.numbers == numbers[:4]


async def test_a_capability_task_goes_to_one_who_does_its_type_and_is_not_degraded(house: House, spine: Spine) -> None:
    plain = await spine.agent(capabilities=["ocr"])
    degraded = await spine.agent(capabilities=["ocr"], health_status="degraded")
    picky = await house.connect(plain, types=frozenset({"known"}))
    slow = await house.connect(degraded)
    await house.looked("cocr", f"a{plain}", f"a{degraded}")
    (known,) = await submit(house, new(capability="ocr", type="known"))
    (odd,) = await submit(house, new(capability="ocr", type="odd"))
    await house.quiet()
    assert picky.numbers == [known] and slow.numbers == []
    assert (await spine.task(odd))["status"] == "pending"


async def test_a_replayed_request_hands_nothing_over(house: House, spine: Spine) -> None:
    agent = await spine.agent()
    peer = await house.connect(agent)
    await house.looked(f"a{agent}")
    task = new(agent, idempotency_key="k", request_hash=b"1")
    (number,) = await submit(house, task)
    (again,) = await house.dispatcher.submitter.submit([task])
    assert again.task_id == number and again.replayed
    assert peer.numbers == [number] and await peer.credit() == 9
    with pytest.raises(Conflict):
        await submit(house, new(agent, idempotency_key="k", request_hash=b"2"))
    assert await peer.credit() == 9


async def test_a_refused_request_fails_alone_among_those_that_travel_with_it(house: House, spine: Spine) -> None:
    agent = await spine.agent()
    peer = await house.connect(agent, slots=2)
    await house.looked(f"a{agent}")
    outcomes = await asyncio.gather(
        submit(house, new(agent)),
        submit(house, new(agent, payload='"\\u0000"')),
        submit(house, new(999)),
        submit(house, new(agent), new(998)),
        submit(house, new(agent, type="x" * 300)),
        submit(house, new(agent)),
        return_exceptions=True,
    )
    kinds = [type(outcome) for outcome in outcomes]
    assert kinds == [list, ValidationFailed, NotFound, NotFound, ValidationFailed, list]
    assert await spine.value("select count(*) from agent_tasks") == 2
    await peer.given(2)
    assert peer.session.credit == 0


async def test_a_batch_of_different_agents_is_created_whole_or_not_at_all(house: House, spine: Spine) -> None:
    one, other = await spine.agent(), await spine.agent()
    with pytest.raises(NotFound):
        await submit(house, new(one), new(other), new(999))
    assert await spine.value("select count(*) from agent_tasks") == 0
    assert len(await submit(house, new(one), new(other), new(capability="ocr"))) == 3


async def test_a_caller_that_goes_away_leaves_the_task_and_a_session_in_doubt(house: House, spine: Spine) -> None:
    agent = await spine.agent()
    peer = await house.connect(agent)
    await house.looked(f"a{agent}")
    peer.session.doubtful = False
    asking = asyncio.create_task(submit(house, new(agent)))
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await house.dispatcher.submitter.close()
    assert await spine.value("select count(*) from agent_tasks") == 1
    assert await peer.credit() == 10 and peer.session.doubtful


# -- who gets nothing -----------------------------------------------------------------------------------------------


async def test_a_quiet_session_gets_nothing_until_it_is_heard(house: House, spine: Spine) -> None:
    agent = await spine.agent()
    peer = await house.connect(agent)
    await house.looked(f"a{agent}")
    house.clock.now += 8
    (number,) = await submit(house, new(agent))
    await house.dispatcher.poll_once()
    await house.quiet()
    assert peer.numbers == []
    house.dispatcher.heard(peer.session)
    await house.dispatcher.poll_once()
    await peer.given(1)
    assert peer.numbers == [number]


async def test_a_stopped_agent_is_drained_and_gets_nothing(house: House, spine: Spine) -> None:
    agent = await spine.agent()
    peer = await house.connect(agent)
    await agents.stop(spine.database, agent, ADMIN)
    await house.dispatcher.roster.refresh()
    await submit(house, new(agent))
    await house.dispatcher.poll_once()
    await house.quiet()
    assert peer.drained == ["stopped"] and peer.numbers == []


async def test_a_session_of_an_agent_that_was_stopped_meanwhile_is_drained_when_it_comes_back(
    house: House, spine: Spine
) -> None:
    agent = await spine.agent()
    first = await house.connect(agent)
    house.dispatcher.leave(first.session)
    await agents.stop(spine.database, agent, ADMIN)
    again = await house.connect(agent, instance=first.instance)
    assert again.drained == ["stopped"]


@pytest.mark.parametrize(
    ("close", "open_"),
    [("status = 'error'", "status = 'running'"), ("health_status = 'unhealthy'", "health_status = 'healthy'")],
)
async def test_a_closed_agent_gets_nothing_until_it_opens(house: House, spine: Spine, close: str, open_: str) -> None:
    agent = await spine.agent()
    peer = await house.connect(agent)
    await spine.execute(f"update agent_registry set {close}")
    await house.dispatcher.roster.refresh()
    (number,) = await submit(house, new(agent))
    await house.dispatcher.poll_once()
    await house.quiet()
    assert peer.numbers == []
    await spine.execute(f"update agent_registry set {open_}")
    await house.dispatcher.poll_once()
    await peer.given(1)
    assert peer.numbers == [number]


async def test_after_stop_giving_nobody_gets_anything(house: House, spine: Spine) -> None:
    agent = await spine.agent()
    peer = await house.connect(agent)
    house.dispatcher.stop_giving()
    await submit(house, new(agent))
    await house.dispatcher.poll_once()
    late = await house.connect(agent)
    await house.quiet()
    assert peer.numbers == late.numbers == []


async def test_an_instance_that_connects_again_takes_over_from_its_old_session(house: House, spine: Spine) -> None:
    agent = await spine.agent()
    old = await house.connect(agent)
    young = await house.connect(agent, instance=old.instance)
    await house.looked(f"a{agent}")
    await submit(house, *(new(agent) for _ in range(4)))
    await young.given(4)
    assert old.numbers == [] and old.closed != [] and young.closed == []
    house.dispatcher.leave(old.session)
    assert house.dispatcher.floor.find(old.instance) is young.session


async def test_new_capabilities_open_new_lanes_at_once(house: House, spine: Spine) -> None:
    agent = await spine.agent()
    peer = await house.connect(agent)
    (number,) = await submit(house, new(capability="ocr"))
    await spine.execute("update agent_registry set capabilities = array['ocr']")
    await house.dispatcher.roster.refresh()
    await peer.given(1)
    assert peer.numbers == [number]


async def test_a_region_is_served_by_instances_there(house: House, spine: Spine) -> None:
    agent = await spine.agent()
    eu, us = await house.connect(agent, region="eu"), await house.connect(agent, region="us")
    await house.looked(f"a{agent}", f"a{agent}@eu", f"a{agent}@us")
    numbers = await submit(house, *(new(agent, region="eu") for _ in range(3)))
    assert eu.numbers == numbers and us.numbers == []


# -- settling -------------------------------------------------------------------------------------------------------


async def test_a_failed_task_comes_again_when_its_backoff_is_over(house: House, spine: Spine) -> None:
    agent = await spine.agent()
    peer = await house.connect(agent)
    await submit(house, new(agent))
    (claim,) = await peer.given(1)
    soon = TaskError("busy", retry_after=timedelta(seconds=0.2))
    assert (await peer.end(claim, FAILED, error=soon)).status == "pending"
    await peer.given(2, within=3)
    assert [c.attempt for c in peer.delivered] == [1, 2]


async def test_a_result_the_database_refuses_fails_that_attempt_alone(house: House, spine: Spine) -> None:
    agent = await spine.agent()
    peer = await house.connect(agent)
    numbers = await submit(house, *(new(agent) for _ in range(5)))
    await peer.given(5)
    results = ['"fine"', '"\\u0000"', '"fine"', '"\\ud800"', "[" * 60_000 + "]" * 60_000]
    ends = [peer.end(claim, result=result) for claim, result in zip(peer.delivered, results, strict=True)]
    answers = await asyncio.gather(*ends, return_exceptions=True)
    assert [isinstance(answer, ValidationFailed) for answer in answers] == [False, True, False, True, True]
    states = [(await spine.task(number))["status"] for number in numbers]
    assert states == ["completed", "failed", "completed", "failed", "failed"]
    assert await peer.credit() == 10


async def test_reports_of_one_caller_are_answered_each(house: House, spine: Spine) -> None:
    agent = await spine.agent()
    peer = await house.connect(agent)
    await submit(house, *(new(agent) for _ in range(3)))
    await peer.given(3)
    kinds = [OutcomeKind.COMPLETED] * 3
    reports = [
        Report(c.task_id, c.attempt, c.instance_id, kind, result=result)
        for c, kind, result in zip(peer.delivered, kinds, ["1", '"\\u0000"', "3"], strict=True)
    ]
    reports[2] = Report(reports[2].task_id, 7, reports[2].instance_id, OutcomeKind.COMPLETED, result="3")
    first, second, third = await house.dispatcher.settler.report_all(reports)
    assert not isinstance(first, Exception)
    assert isinstance(second, ValidationFailed) and isinstance(third, LeaseLost)


async def test_progress_of_one_does_not_fail_that_of_another(house: House, spine: Spine) -> None:
    agent = await spine.agent()
    peer = await house.connect(agent)
    await submit(house, *(new(agent) for _ in range(3)))
    await peer.given(3)
    told = [Progress(c.task_id, c.attempt, c.instance_id, percent=5.0, message="m") for c in peer.delivered]
    bad = Progress(told[1].task_id, 1, peer.instance, message="a\0b")
    late = Progress(told[2].task_id, 9, peer.instance, percent=1.0)
    outcomes = await asyncio.gather(
        *(house.dispatcher.settler.progress(each) for each in (told[0], bad, late)), return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes] == [type(None), ValidationFailed, LeaseLost]


async def test_a_waiter_wakes_when_its_task_is_settled(
    house: House, spine: Spine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiters, "_LOOK_AGAIN_SECONDS", 60.0)
    agent = await spine.agent()
    peer = await house.connect(agent)
    (number,) = await submit(house, new(agent))
    await peer.given(1)
    with house.dispatcher.waiters.bell(number) as bell:
        await asyncio.sleep(0.01)
        assert not bell.done()
        await peer.end(peer.delivered[0])
        await house.dispatcher.waiters.wait(bell, 10)
        assert bell.done()


async def test_a_cancelled_task_is_taken_back_from_its_session(house: House, spine: Spine) -> None:
    agent = await spine.agent()
    peer = await house.connect(agent)
    (number,) = await submit(house, new(agent))
    await peer.given(1)
    done = await tasks.cancel(spine.database, number, ADMIN)
    house.dispatcher.cancelled(number, done.attempt, done.instance_id)
    assert peer.cancelled == [(number, 1, "cancelled")] and await peer.credit() == 10
    with pytest.raises(LeaseLost):
        await peer.end(peer.delivered[0])
    assert await peer.credit() == 10


# -- lost once ------------------------------------------------------------------------------------------------------


async def test_tasks_once_lost_run_one_at_a_time_and_all_get_their_turn(house: House, spine: Spine) -> None:
    agent = await spine.agent()
    numbers = await spine.submit(*(new(agent) for _ in range(4)))
    await spine.execute("update agent_tasks set lost_count = 1")
    peer = await house.connect(agent)
    for n in range(1, 5):
        await peer.given(n)
        await house.quiet()
        assert len(peer.delivered) == n
        await peer.end(peer.delivered[-1])
    await house.quiet()
    assert peer.numbers == numbers and await peer.credit() == 10


# -- the database is away -------------------------------------------------------------------------------------------


async def test_a_round_whose_outcome_is_unknown_keeps_the_credit_and_leaves_doubt(house: House, spine: Spine) -> None:
    agent = await spine.agent()
    peer = await house.connect(agent)
    await house.looked(f"a{agent}")
    peer.session.doubtful = False
    await spine.execute("insert into agent_tasks (agent_id, type, payload) values ($1, 't', '{}')", agent)
    run = house.dispatcher.claimer._hot.run

    async def commit_and_lose(work: Any) -> Any:
        house.dispatcher.claimer._hot.run = run  # type: ignore[method-assign]
        await run(work)
        raise Unavailable("cut")

    house.dispatcher.claimer._hot.run = commit_and_lose  # type: ignore[method-assign, assignment]
    await house.dispatcher.poll_once()
    await until(lambda: peer.session.doubtful)
    await house.quiet()
    assert await peer.credit() == 10 and peer.numbers == []
    assert await spine.value("select status from agent_tasks") == "running"


async def test_claiming_goes_on_after_its_connection_was_cut(house: House, spine: Spine) -> None:
    agent = await spine.agent()
    peer = await house.connect(agent)
    await house.looked(f"a{agent}")
    await spine.fetch("select pg_terminate_backend(pid) from pg_stat_activity where application_name ~ 'workstation '")
    (number,) = await spine.submit(new(agent))
    for _ in range(20):
        await house.dispatcher.poll_once()
        if peer.numbers:
            break
        await asyncio.sleep(0.1)
    assert peer.numbers == [number]


# -- credit ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
async def test_credit_is_whole_again_when_everything_has_settled(spine: Spine, seed: int) -> None:
    """Whatever happens, what was lent is given back: hand-off, claims, failures, releases, cancels, bad results."""
    chance = random.Random(seed)
    async with open_house(spine) as house:
        agent = await spine.agent(capabilities=["ocr"])
        peers = [await house.connect(agent, slots=slots) for slots in (1, 3, 8)]
        dones: list[asyncio.Task[None]] = []

        async def work(peer: Peer) -> None:
            seen = 0
            while True:
                if seen == len(peer.delivered):
                    await asyncio.sleep(0.002)
                    continue
                claim = peer.delivered[seen]
                seen += 1
                dones.append(asyncio.create_task(finish(peer, claim)))

        async def finish(peer: Peer, claim: Any) -> None:
            await asyncio.sleep(chance.random() * 0.02)
            kind = chance.choice([OutcomeKind.COMPLETED] * 5 + [FAILED, RELEASED])
            soon = TaskError("no", retry_after=timedelta()) if kind is FAILED else None
            result = chance.choice(['"ok"', '"ok"', '"\\u0000"']) if kind is OutcomeKind.COMPLETED else None
            with suppress(LeaseLost, ValidationFailed):
                await peer.end(claim, kind, error=soon, result=result)

        working = [asyncio.create_task(work(peer)) for peer in peers]
        for _ in range(40):
            numbers = await submit(
                house, *(new(capability="ocr") if chance.random() < 0.3 else new(agent) for _ in range(3))
            )
            if chance.random() < 0.3:
                number = chance.choice(numbers)
                with suppress(Conflict):
                    done = await tasks.cancel(spine.database, number, ADMIN)
                    house.dispatcher.cancelled(number, done.attempt, done.instance_id)
            if chance.random() < 0.2:
                await house.dispatcher.poll_once()

        async def all_final() -> bool:
            await house.dispatcher.poll_once()
            return not await spine.value("select count(*) from agent_tasks where status in ('pending', 'running')")

        await until(all_final, within=20)
        await asyncio.gather(*dones)
        await house.quiet()
        for task in working:
            task.cancel()
        await asyncio.gather(*working, return_exceptions=True)
        for peer in peers:
            assert peer.session.held == {} and peer.session.suspects == set()
            assert await peer.credit() == peer.session.slots
            keys = [(claim.task_id, claim.attempt) for claim in peer.delivered]
            assert len(keys) == len(set(keys))
        everything = [(c.task_id, c.attempt) for peer in peers for c in peer.delivered]
        assert len(everything) == len(set(everything))


async def test_reads_that_come_together_travel_together(house: House, spine: Spine) -> None:
    agent = await spine.agent()
    numbers = await spine.submit(*(new(agent) for _ in range(5)))
    rows = await asyncio.gather(*(house.dispatcher.get(number) for number in [*numbers, 10**9]))
    assert [row["id"] if row is not None else None for row in rows] == [*numbers, None]
