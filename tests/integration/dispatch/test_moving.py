"""An instance goes from one replica to another: the first lets go of it, whatever it still believes."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta

import pytest
from tests.support.floor import House, Peer, open_house
from tests.support.spine import Spine, new

from workstation.dispatch.claimer import QUIET_SECONDS
from workstation.dispatch.heartbeats import REPLACED
from workstation.domain.tasks import OutcomeKind, Report


@pytest.fixture
async def pair(spine: Spine) -> AsyncIterator[tuple[House, House]]:
    """Two replicas that count each other and hear no hints."""
    async with AsyncExitStack() as stack:
        houses = [await stack.enter_async_context(open_house(spine)) for _ in range(2)]
        for house in houses:
            await spine.execute(
                "insert into nodes (id, version, lease_expires_at) values ($1, '1', now() + interval '1 hour')",
                house.node_id,
            )
        for house in houses:
            await house.dispatcher.poll_once()
        yield houses[0], houses[1]


async def lease_left(spine: Spine, peer: Peer) -> timedelta:
    left = await spine.value("select lease_expires_at - now() from agent_instances where id = $1", peer.instance)
    assert isinstance(left, timedelta)
    return left


async def test_a_connection_that_ends_late_does_not_shorten_the_lease_of_one_that_moved(
    spine: Spine, pair: tuple[House, House]
) -> None:
    here, there = pair
    old = await here.connect(await spine.agent())
    new_one = await there.connect(old.session.agent_id, instance=old.instance)
    here.dispatcher.leave(old.session)
    await here.dispatcher.leases.disconnected(old.instance)
    assert await lease_left(spine, new_one) > timedelta(seconds=10)
    there.dispatcher.leave(new_one.session)
    await there.dispatcher.leases.disconnected(old.instance)
    assert await lease_left(spine, new_one) <= timedelta(seconds=3)


async def test_what_it_still_says_to_the_old_replica_closes_that_connection(
    spine: Spine, pair: tuple[House, House]
) -> None:
    here, there = pair
    old = await here.connect(await spine.agent())
    moved = await there.connect(old.session.agent_id, instance=old.instance)
    for house, peer in ((here, old), (there, moved)):
        house.dispatcher.heard(peer.session)
        await house.dispatcher.leases.renew_once()
    assert (old.closed, moved.closed) == ([REPLACED], [])


async def test_a_replica_that_stood_still_gives_nothing_before_it_knows_who_is_still_here(
    spine: Spine, pair: tuple[House, House]
) -> None:
    here, there = pair
    agent = await spine.agent()
    gone, stayed = await here.connect(agent), await here.connect(agent)
    await here.looked(f"a{agent}")
    await there.connect(agent, instance=gone.instance, slots=1)
    # What the agent had sent before it moved is read only now.
    here.clock.now += QUIET_SECONDS + 1
    for peer in (gone, stayed):
        here.dispatcher.heard(peer.session)
        here.dispatcher.add_credit(peer.session, 1)
    created = await here.dispatcher.submitter.submit([new(agent) for _ in range(10)])
    await here.quiet()
    assert gone.delivered == stayed.delivered == []
    await here.dispatcher.leases.renew_once()
    await here.dispatcher.poll_once()
    await stayed.given(10)
    assert gone.closed == [REPLACED] and gone.delivered == []
    assert sorted(stayed.numbers) == [task.task_id for task in created]


async def test_alone_a_silence_is_nothing_special(spine: Spine) -> None:
    async with open_house(spine) as house:
        agent = await spine.agent()
        peer = await house.connect(agent)
        await house.looked(f"a{agent}")
        house.clock.now += QUIET_SECONDS + 1
        house.dispatcher.heard(peer.session)
        await house.dispatcher.submitter.submit([new(agent)])
        await peer.given(1)


async def test_an_attempt_that_ended_elsewhere_frees_its_slot_when_its_task_comes_again(
    spine: Spine, pair: tuple[House, House]
) -> None:
    here, there = pair
    peer = await here.connect(await spine.agent(), slots=2)
    (number,) = await spine.submit(new(peer.session.agent_id))
    await here.dispatcher.poll_once()
    (first,) = await peer.given(1)
    # No hint reaches this replica.
    await there.dispatcher.settler.report(Report(number, first.attempt, peer.instance, OutcomeKind.RELEASED))
    await here.dispatcher.poll_once()
    second = (await peer.given(2))[1]
    assert (second.task_id, second.attempt) == (number, 2)
    assert await peer.credit() == 1
    here.dispatcher.returned(peer.session, number, first.attempt)
    assert await peer.credit() == 1
    await peer.end(second)
    assert await peer.credit() == 2
