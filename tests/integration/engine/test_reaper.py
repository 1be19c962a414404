"""What nobody works on any more is taken back: in time, never too early, and charged only where it is deserved."""

from typing import Any

import pytest
from tests.support.floor import House, Peer, open_house
from tests.support.spine import Spine, new, until

from workstation.domain.errors import Unavailable
from workstation.domain.principal import Principal, Role
from workstation.engine.reaper import BATCH, SETTLED_AFTER_SECONDS, Reaper
from workstation.services import agents

ADMIN = Principal("root", Role.ADMIN)
AFTER_START = 60.0
STEP = 5.0


@pytest.fixture
async def house(spine: Spine) -> Any:
    async with open_house(spine) as house:
        yield house


@pytest.fixture
async def reaper(house: House) -> Reaper:
    """A reaper that has had contact for a long time."""
    reaper = Reaper(house.spine.database, house.dispatcher, house.clock)
    await pass_time(reaper, house, AFTER_START)
    return reaper


async def pass_time(reaper: Reaper, house: House, seconds: float) -> None:
    """Time in which the reaper goes on looking, as its loop does."""
    await reaper.reap_once()
    while seconds > 0:
        house.clock.now += min(seconds, STEP)
        seconds -= STEP
        await reaper.reap_once()


async def working(house: House, **fields: Any) -> tuple[Peer, int]:
    agent = await house.spine.agent()
    peer = await house.connect(agent)
    (created,) = await house.dispatcher.submitter.submit([new(agent, **fields)])
    await peer.given(1)
    return peer, created.task_id


async def test_a_lapsed_lease_loses_its_tasks_and_they_go_on_elsewhere(
    house: House, reaper: Reaper, spine: Spine
) -> None:
    peer, number = await working(house)
    other = await house.connect(peer.session.agent_id)
    await spine.kill(peer.instance)
    await reaper.reap_once()
    assert peer.closed == [4409]
    assert await spine.value("select status from agent_instances where id = $1", peer.instance) == "dead"
    house.dispatcher.leave(peer.session)
    await other.given(1)
    assert other.numbers == [number] and other.delivered[0].suspect
    assert (await spine.task(number))["lost_count"] == 1
    assert await spine.attempts(number) == [(1, "lost"), (2, None)]


async def test_a_living_lease_is_left_alone(house: House, reaper: Reaper, spine: Spine) -> None:
    peer, number = await working(house)
    for _ in range(3):
        await reaper.reap_once()
    assert peer.closed == [] and (await spine.task(number))["status"] == "running"


async def test_an_instance_that_said_goodbye_leaves_no_task_behind(house: House, reaper: Reaper, spine: Spine) -> None:
    peer, number = await working(house)
    house.dispatcher.leave(peer.session)
    await house.dispatcher.leases.goodbye(peer.instance, "gone")
    await reaper.reap_once()
    assert (await spine.task(number))["status"] == "pending"


async def test_an_attempt_past_its_deadline_has_failed_and_its_agent_is_told(
    house: House, reaper: Reaper, spine: Spine
) -> None:
    peer, number = await working(house, max_retries=0)
    await spine.expire_deadlines()
    await reaper.reap_once()
    row = await spine.task(number)
    assert (row["status"], row["dead_letter"]) == ("failed", True) and "timed_out" in row["error"]
    assert await spine.attempts(number) == [(1, "timed_out")]
    assert peer.cancelled == [(number, 1, "timed_out")] and await peer.credit() == 10


async def test_a_timeout_is_retried_like_a_failure(house: House, reaper: Reaper, spine: Spine) -> None:
    _, number = await working(house)
    await spine.expire_deadlines()
    await reaper.reap_once()
    row = await spine.task(number)
    assert (row["retry_count"], row["lost_count"]) == (1, 0)


async def test_losses_in_a_row_are_poison(house: House, reaper: Reaper, spine: Spine) -> None:
    agent = await spine.agent()
    (number,) = await spine.submit(new(agent))
    for _ in range(3):
        peer = await house.connect(agent)
        await peer.given(1)
        await spine.kill(peer.instance)
        await reaper.reap_once()
        house.dispatcher.leave(peer.session)
    row = await spine.task(number)
    assert (row["status"], row["dead_letter"], row["lost_count"]) == ("failed", True, 3)


# -- after a start and after an outage ------------------------------------------------------------------------------


async def test_after_its_start_nothing_is_reaped_for_six_seconds_and_nothing_charged(
    house: House, spine: Spine
) -> None:
    reaper = Reaper(spine.database, house.dispatcher, house.clock)
    peer, number = await working(house)
    await spine.kill(peer.instance)
    for _ in range(2):
        await reaper.reap_once()
        house.clock.now += SETTLED_AFTER_SECONDS / 2 - 0.1
    await reaper.reap_once()
    assert (await spine.task(number))["status"] == "running"
    house.clock.now += 0.3
    await reaper.reap_once()
    row = await spine.task(number)
    assert (row["status"], row["lost_count"]) == ("pending", 0)


async def test_an_agent_that_comes_back_after_an_outage_keeps_its_tasks(
    house: House, reaper: Reaper, spine: Spine, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer, number = await working(house)
    await outage(reaper, spine, monkeypatch)
    await spine.kill(peer.instance)
    await reaper.reap_once()
    assert (await spine.task(number))["status"] == "running"
    again = await house.connect(peer.session.agent_id, instance=peer.instance)
    await pass_time(reaper, house, SETTLED_AFTER_SECONDS + 1)
    assert (await spine.task(number))["status"] == "running" and again.closed == []


async def test_a_reaper_that_stood_still_itself_waits_and_charges_nothing(
    house: House, reaper: Reaper, spine: Spine
) -> None:
    peer, number = await working(house)
    house.clock.now += 25
    await spine.kill(peer.instance)
    await reaper.reap_once()
    assert (await spine.task(number))["status"] == "running" and peer.closed == []
    await pass_time(reaper, house, SETTLED_AFTER_SECONDS + 1)
    row = await spine.task(number)
    assert (row["status"], row["lost_count"]) == ("pending", 0)


async def test_contact_has_to_be_unbroken(
    house: House, reaper: Reaper, spine: Spine, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer, number = await working(house)
    await spine.kill(peer.instance)
    for _ in range(3):
        await outage(reaper, spine, monkeypatch)
        await reaper.reap_once()
        house.clock.now += SETTLED_AFTER_SECONDS - 0.1
        await reaper.reap_once()
    assert (await spine.task(number))["status"] == "running"
    house.clock.now += 0.2
    await reaper.reap_once()
    assert (await spine.task(number))["lost_count"] == 0 and (await spine.task(number))["status"] == "pending"


async def test_long_after_an_outage_losses_count_again(
    house: House, reaper: Reaper, spine: Spine, monkeypatch: pytest.MonkeyPatch
) -> None:
    await outage(reaper, spine, monkeypatch)
    await pass_time(reaper, house, AFTER_START)
    peer, number = await working(house)
    await spine.kill(peer.instance)
    await reaper.reap_once()
    assert (await spine.task(number))["lost_count"] == 1


async def outage(reaper: Reaper, spine: Spine, monkeypatch: pytest.MonkeyPatch) -> None:
    def away() -> None:
        raise Unavailable("gone")

    with monkeypatch.context() as patched:
        patched.setattr(spine.database, "session", away)
        with pytest.raises(Unavailable):
            await reaper.reap_once()


# -- many, and odd ones ---------------------------------------------------------------------------------------------


async def test_more_than_a_batch_takes_several_steps(house: House, reaper: Reaper, spine: Spine) -> None:
    agent = await spine.agent()
    instance = await spine.instance(agent)
    n = 2 * BATCH + 10
    await spine.submit(*(new(agent) for _ in range(n)))
    assert len(await spine.claim(instance, credit=n)) == n
    await spine.kill(instance)
    steps = 1
    while await reaper.reap_once():
        steps += 1
    assert steps == 3
    assert await spine.value("select count(*) from agent_tasks where status = 'pending'") == n


async def test_attempts_left_open_by_hand_do_not_stand_in_front_of_the_others(
    house: House, reaper: Reaper, spine: Spine
) -> None:
    agent = await spine.agent()
    instance = await spine.instance(agent)
    n = BATCH + 5
    numbers = await spine.submit(*(new(agent) for _ in range(n)))
    await spine.claim(instance, credit=n)
    await spine.execute("delete from agent_tasks where id < $1", numbers[-1])
    await spine.kill(instance)
    steps = 1
    while await reaper.reap_once() and steps < 10:
        steps += 1
    assert steps == 1
    assert (await spine.task(numbers[-1]))["status"] == "pending"


async def test_two_reapers_take_back_each_task_once(house: House, reaper: Reaper, spine: Spine) -> None:
    async with open_house(spine) as neighbour:
        other = Reaper(spine.database, neighbour.dispatcher, neighbour.clock)
        await pass_time(other, neighbour, AFTER_START)
        agent = await spine.agent()
        instance = await spine.instance(agent)
        await spine.submit(*(new(agent) for _ in range(50)))
        await spine.claim(instance)
        await spine.kill(instance)
        await reaper.reap_once()
        await other.reap_once()
        assert await spine.value("select max(lost_count) from agent_tasks") == 1
        assert len(await spine.told("task.lost")) == 50
        assert await spine.value("select count(*) from events where type = 'instance.lost'") == 1


# -- agents that were told to stop ----------------------------------------------------------------------------------


async def test_a_stopped_agent_that_does_not_go_is_put_out(house: House, reaper: Reaper, spine: Spine) -> None:
    peer, number = await working(house)
    agent = peer.session.agent_id
    await agents.stop(spine.database, agent, ADMIN)
    await reaper.reap_once()
    assert peer.closed == []
    await agents.stop(spine.database, agent, ADMIN, force=True)
    await reaper.reap_once()
    assert peer.closed == [4409]
    assert await spine.value("select status from agent_registry where id = $1", agent) == "stopped"
    await until(lambda: _is_pending(spine, number))


async def _is_pending(spine: Spine, number: int) -> bool:
    return (await spine.task(number))["status"] == "pending"
