"""Leases are renewed for who was heard, shortened for who hung up, and ended for who is dead."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest
from tests.support.floor import House, Peer
from tests.support.spine import Spine, new

from workstation.domain.errors import ValidationFailed
from workstation.services.instances import Hello
from workstation.store.agents import HealthReport


async def left(spine: Spine, peer: Peer) -> float:
    """Seconds until the lease of an instance is over."""
    return float(
        await spine.value(
            "select extract(epoch from lease_expires_at - now()) from agent_instances where id = $1", peer.instance
        )
    )


async def shorten(spine: Spine) -> None:
    await spine.execute("update agent_instances set lease_expires_at = now() + interval '4 seconds'")


async def test_only_who_was_heard_is_renewed(house: House, spine: Spine) -> None:
    agent = await spine.agent()
    talking, silent = await house.connect(agent), await house.connect(agent)
    house.clock.now += 1
    await house.dispatcher.leases.renew_once()
    await shorten(spine)
    house.clock.now += 1
    house.dispatcher.heard(talking.session)
    await house.dispatcher.leases.renew_once()
    assert await left(spine, talking) > 10
    assert await left(spine, silent) < 5


async def test_what_was_heard_while_the_database_was_away_is_renewed_later(
    house: House, spine: Spine, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = await spine.agent()
    peer = await house.connect(agent)
    leases = house.dispatcher.leases
    await leases.renew_once()
    await shorten(spine)
    house.clock.now += 1
    house.dispatcher.heard(peer.session)

    async def away(*_args: Any, **_more: Any) -> None:
        raise ConnectionError

    with monkeypatch.context() as patched:
        patched.setattr(leases._hot, "run", away)
        with pytest.raises(ConnectionError):
            await leases.renew_once()
    house.clock.now += 1
    await leases.renew_once()
    assert await left(spine, peer) > 10


async def test_a_dead_instance_that_talks_is_told_to_come_again_as_a_new_one(house: House, spine: Spine) -> None:
    agent = await spine.agent()
    peer = await house.connect(agent)
    await spine.execute("update agent_instances set status = 'dead', ended_at = now()")
    house.clock.now += 1
    house.dispatcher.heard(peer.session)
    await house.dispatcher.leases.renew_once()
    assert peer.closed == [4409]


async def test_who_hangs_up_has_three_seconds(house: House, spine: Spine) -> None:
    agent = await spine.agent()
    peer = await house.connect(agent)
    house.dispatcher.leave(peer.session)
    await house.dispatcher.leases.disconnected(peer.instance)
    assert await left(spine, peer) <= 3


async def test_who_is_back_already_is_not_shortened_by_its_old_connection(house: House, spine: Spine) -> None:
    agent = await spine.agent()
    old = await house.connect(agent)
    house.dispatcher.leave(old.session)
    young = await house.connect(agent, instance=old.instance)
    await house.dispatcher.leases.disconnected(old.instance)
    assert await left(spine, young) > 10


async def test_a_renewal_under_way_does_not_undo_a_shortening(house: House, spine: Spine) -> None:
    agent = await spine.agent()
    peer = await house.connect(agent)
    house.dispatcher.heard(peer.session)
    renewing = asyncio.create_task(house.dispatcher.leases.renew_once())
    await asyncio.sleep(0)
    house.dispatcher.leave(peer.session)
    await asyncio.gather(renewing, house.dispatcher.leases.disconnected(peer.instance))
    assert await left(spine, peer) <= 3


async def test_goodbye_ends_an_instance_for_good(house: House, spine: Spine) -> None:
    agent = await spine.agent()
    peer = await house.connect(agent)
    await house.dispatcher.leases.goodbye(peer.instance, "said goodbye")
    assert not await house.dispatcher.leases.renew_now(peer.instance, agent)
    assert await spine.value("select status from agent_instances") == "ended"


async def test_a_draining_instance_is_renewed_but_takes_nothing(house: House, spine: Spine) -> None:
    agent = await spine.agent()
    peer = await house.connect(agent)
    await house.dispatcher.leases.draining([peer.instance])
    await spine.submit(new(agent))
    assert await house.dispatcher.leases.renew_now(peer.instance, agent)
    assert await spine.claim(peer.instance) == []


async def test_a_bad_report_of_health_fails_alone(house: House, spine: Spine) -> None:
    good, bad = await spine.agent(), await spine.agent()
    report = house.dispatcher.leases.report_health
    outcomes = await asyncio.gather(
        report(HealthReport(good, "degraded")),
        report(HealthReport(bad, "healthy", '{"x": "\\u0000"}')),
        report(HealthReport(good, "healthy")),
        report(HealthReport(999, "healthy")),
        return_exceptions=True,
    )
    assert [type(outcome) for outcome in outcomes] == [bool, ValidationFailed, bool, bool]
    assert (outcomes[0], outcomes[2], outcomes[3]) == (True, True, False)
    assert await spine.value("select health_status from agent_registry where id = $1", good) == "healthy"


async def test_an_instance_is_renewed_for_its_own_agent_only(house: House, spine: Spine) -> None:
    agent, other = await spine.agent(), await spine.agent()
    peer = await house.connect(agent)
    await shorten(spine)
    assert not await house.dispatcher.leases.renew_now(peer.instance, other)
    assert await left(spine, peer) < 5


async def test_a_hello_that_cannot_be_stored_is_refused(house: House, spine: Spine) -> None:
    agent = await spine.agent()
    for fields in ({"region": "a\0b"}, {"capabilities": ("\0",)}, {"task_types": '{"t": "\\u0000"}'}):
        with pytest.raises(ValidationFailed):
            await house.dispatcher.leases.hello(Hello(uuid4(), agent, 1, **fields))  # type: ignore[arg-type]
    assert await spine.value("select count(*) from agent_instances") == 0


async def test_an_instance_nobody_knows_is_not_alive(house: House) -> None:
    assert not await house.dispatcher.leases.renew_now(uuid4(), 1)


async def test_a_drain_that_was_written_late_is_told_to_the_connection_there_is_now(house: House, spine: Spine) -> None:
    agent = await spine.agent()
    unaware, aware, pulling = (
        await house.connect(agent),
        await house.connect(agent, draining=True),
        await house.connect(agent, pulls=True),
    )
    await house.dispatcher.leases.renew_once()
    assert unaware.drained == []
    await house.dispatcher.leases.draining([peer.instance for peer in (unaware, aware, pulling)])
    await house.dispatcher.leases.renew_once()
    assert (unaware.drained, aware.drained, pulling.drained) == (["restart"], [], [])
