"""An instance connects again while the database is asked for its old session: the new one has the last word."""

import asyncio
from typing import Any

import pytest
from tests.support.floor import House, Peer
from tests.support.spine import Spine, new

from workstation.domain.errors import Unavailable
from workstation.store.database import HotConnection


class HeldBack:
    """The next write of a kept connection waits until it may go on; its answer may be lost."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, hot: HotConnection) -> None:
        self._run = hot.run
        self.reached, self.may_go_on = asyncio.Event(), asyncio.Event()
        self.answer_is_lost = False
        monkeypatch.setattr(hot, "run", self.run)

    async def run(self, work: Any, *, repeat: bool = False) -> Any:
        """As the connection's own, once it may."""
        if not repeat:
            self.reached.set()
            await self.may_go_on.wait()
        answer = await self._run(work, repeat=repeat)
        if not repeat and self.answer_is_lost:
            self.answer_is_lost = False
            raise Unavailable("The connection was cut after the commit.")
        return answer


async def come_again(house: House, old: Peer) -> Peer:
    """A new connection of the same instance, which was told what it holds: there is nothing to doubt."""
    young = await house.connect(old.session.agent_id, instance=old.instance)
    young.session.doubtful = False
    return young


async def kept(house: House, peer: Peer) -> set[tuple[int, int]]:
    """What the database holds for it."""
    return await house.dispatcher.leases.attempts_of(peer.instance)


@pytest.fixture
async def old(house: House, spine: Spine) -> Peer:
    """A connected instance for which nothing waits, with all its slots free."""
    agent = await spine.agent()
    peer = await house.connect(agent)
    await house.looked(f"a{agent}")
    return peer


# -- during a claim round -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lost", [False, True], ids=["answered", "answer lost"])
async def test_a_claim_for_its_old_session_is_asked_for_by_the_new_one(
    house: House, spine: Spine, old: Peer, monkeypatch: pytest.MonkeyPatch, lost: bool
) -> None:
    claiming = HeldBack(monkeypatch, house.dispatcher.claimer._hot)
    claiming.answer_is_lost = lost
    await spine.execute(
        "insert into agent_tasks (agent_id, type, payload) values ($1, 't', '{}')", old.session.agent_id
    )
    await house.dispatcher.poll_once()
    await claiming.reached.wait()
    young = await come_again(house, old)
    claiming.may_go_on.set()
    await house.quiet()
    assert len(await kept(house, young)) == 1
    assert young.session.doubtful and young.numbers == [] and young.session.held == {}
    assert await young.credit() == 10


async def test_a_round_that_gives_its_old_session_nothing_leaves_no_doubt(
    house: House, old: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    claiming = HeldBack(monkeypatch, house.dispatcher.claimer._hot)
    house.dispatcher.mark(f"a{old.session.agent_id}")
    await claiming.reached.wait()
    young = await come_again(house, old)
    claiming.may_go_on.set()
    await house.quiet()
    assert not young.session.doubtful
    assert (await old.credit(), await young.credit()) == (10, 10)


# -- during a submit ------------------------------------------------------------------------------------------------


async def test_a_task_handed_to_its_old_session_is_asked_for_by_the_new_one(
    house: House, old: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    submitting = HeldBack(monkeypatch, house.dispatcher.submitter._hot)
    asking = asyncio.create_task(house.dispatcher.submitter.submit([new(old.session.agent_id)]))
    await submitting.reached.wait()
    assert old.session.credit == 9
    young = await come_again(house, old)
    submitting.may_go_on.set()
    (submitted,) = await asking
    assert await kept(house, young) == {(submitted.task_id, 1)}
    assert young.session.doubtful and young.numbers == [] and young.session.held == {}
    assert await young.credit() == 10


async def test_credit_that_its_old_session_lent_in_vain_is_not_given_to_the_new_one(
    house: House, old: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    submitting = HeldBack(monkeypatch, house.dispatcher.submitter._hot)
    submitting.answer_is_lost = True
    asking = asyncio.create_task(house.dispatcher.submitter.submit([new(old.session.agent_id)]))
    await submitting.reached.wait()
    young = await come_again(house, old)
    submitting.may_go_on.set()
    with pytest.raises(Unavailable):
        await asking
    assert await young.credit() == 10
    assert young.session.doubtful
