"""Two replicas on one database: hints make it quick, and nothing depends on them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import timedelta
from typing import Any

import pytest
from tests.support.floor import House, open_house
from tests.support.spine import Spine, new, until

from workstation.dispatch import waiters, wakeups
from workstation.domain.principal import Principal, Role
from workstation.domain.tasks import OutcomeKind, TaskError
from workstation.services import tasks
from workstation.store.database import Database

ADMIN = Principal("root", Role.ADMIN)


@asynccontextmanager
async def listening(house: House) -> AsyncIterator[None]:
    task = asyncio.create_task(house.dispatcher.wakeups.listen())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@pytest.fixture
async def pair(spine: Spine) -> AsyncIterator[tuple[House, House]]:
    """Two replicas that know of each other and hear each other's hints."""
    async with AsyncExitStack() as stack:
        houses = [await stack.enter_async_context(open_house(spine)) for _ in range(2)]
        for house in houses:
            await spine.execute(
                "insert into nodes (id, version, lease_expires_at) values ($1, '1', now() + interval '1 hour')",
                house.node_id,
            )
        for house in houses:
            await house.dispatcher.poll_once()
            await stack.enter_async_context(listening(house))
        await until(lambda: deafness(spine, 2))
        yield houses[0], houses[1]


async def deafness(spine: Spine, n: int) -> bool:
    return (
        await spine.value(
            "select count(*) from pg_stat_activity where datname = current_database() and query ~* '^listen'"
        )
        == n
    )


async def test_a_task_created_at_one_replica_reaches_an_agent_at_the_other(
    spine: Spine, pair: tuple[House, House]
) -> None:
    here, there = pair
    agent = await spine.agent()
    peer = await there.connect(agent)
    await there.looked(f"a{agent}")
    await here.dispatcher.roster.refresh()
    (created,) = await here.dispatcher.submitter.submit([new(agent)])
    await peer.given(1, within=3)
    assert peer.numbers == [created.task_id]


async def test_who_waits_at_one_replica_hears_of_a_task_settled_at_the_other(
    spine: Spine, pair: tuple[House, House], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiters, "_LOOK_AGAIN_SECONDS", 60.0)
    here, there = pair
    agent = await spine.agent()
    peer = await there.connect(agent)
    await there.looked(f"a{agent}")
    (created,) = await there.dispatcher.submitter.submit([new(agent)])
    await peer.given(1)
    with here.dispatcher.waiters.bell(created.task_id) as bell:
        await peer.end(peer.delivered[0])
        await here.dispatcher.waiters.wait(bell, 10)
        assert bell.done()


async def test_a_cancel_at_one_replica_stops_the_work_at_the_other(spine: Spine, pair: tuple[House, House]) -> None:
    here, there = pair
    agent = await spine.agent()
    peer = await there.connect(agent)
    await there.looked(f"a{agent}")
    (created,) = await there.dispatcher.submitter.submit([new(agent)])
    await peer.given(1)
    done = await tasks.cancel(spine.database, created.task_id, ADMIN)
    here.dispatcher.cancelled(created.task_id, done.attempt, done.instance_id)
    await until(lambda: peer.cancelled != [], within=3)
    assert peer.cancelled == [(created.task_id, 1, "cancelled")]
    assert await peer.credit() == 10


async def test_a_great_many_cancels_at_once_all_get_through(spine: Spine, pair: tuple[House, House]) -> None:
    here, there = pair
    agent = await spine.agent()
    peer = await there.connect(agent, slots=400)
    await there.looked(f"a{agent}")
    await there.dispatcher.submitter.submit([new(agent) for _ in range(400)])
    await peer.given(400)
    for claim in peer.delivered:
        here.dispatcher.take_back(claim.task_id, claim.attempt, claim.instance_id, "cancelled")
    await until(lambda: len(peer.cancelled) == 400, within=5)


async def test_long_names_of_lanes_travel(spine: Spine, pair: tuple[House, House]) -> None:
    here, there = pair
    names = [f"{'ü' * 90}{number}" for number in range(100)]
    agent = await spine.agent(capabilities=names)
    await there.connect(agent)
    await there.looked(*(f"c{name}" for name in names))
    for name in names:
        here.dispatcher.mark(f"c{name}")
    marked: set[str] = set()

    def all_marked() -> bool:
        marked.update(there.dispatcher.floor.marks())
        return len(marked) >= 100

    there.dispatcher.stop_giving()
    await until(all_marked, within=5)


async def test_nothing_is_lost_with_every_hint_dropped(spine: Spine) -> None:
    async with open_house(spine) as here, open_house(spine) as there:
        agent = await spine.agent()
        peer = await there.connect(agent)
        await there.looked(f"a{agent}")
        (created,) = await here.dispatcher.submitter.submit([new(agent)])
        await there.dispatcher.poll_once()
        await peer.given(1)
        await peer.end(peer.delivered[0], OutcomeKind.FAILED, error=TaskError("x", retry_after=timedelta()))
        await until(lambda: len(peer.delivered) == 2)
        # Who waits looks again each second.
        with here.dispatcher.waiters.bell(created.task_id) as bell:
            async with asyncio.timeout(2):
                await here.dispatcher.waiters.wait(bell, 60)


async def test_a_listener_that_was_cut_listens_again(spine: Spine, pair: tuple[House, House]) -> None:
    here, there = pair
    agent = await spine.agent()
    peer = await there.connect(agent)
    await there.looked(f"a{agent}")
    await spine.fetch("select pg_terminate_backend(pid) from pg_stat_activity where query ~* '^listen'")
    await until(lambda: deafness(spine, 2), within=5)
    await asyncio.sleep(0.1)
    assert await deafness(spine, 2), "listening again did not last"
    await here.dispatcher.submitter.submit([new(agent)])
    await peer.given(1, within=3)


async def test_a_listener_that_has_gone_deaf_finds_out_by_itself_and_listens_again(
    spine: Spine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wakeups, "_ECHO_EVERY_SECONDS", 0.1)
    monkeypatch.setattr(wakeups, "ECHO_SECONDS", 0.5)
    opened: list[Any] = []
    listen = Database.listen

    async def remembered(self: Database, *arguments: Any) -> Any:
        opened.append(await listen(self, *arguments))
        return opened[-1]

    monkeypatch.setattr(Database, "listen", remembered)
    async with open_house(spine) as house, listening(house):
        ears = house.dispatcher.wakeups
        await until(lambda: ears.hears)
        # As of a connection that is half open: neither end tells the other.
        await opened[0].execute("unlisten *")
        await until(lambda: not ears.hears)
        await until(lambda: ears.hears, within=10)
        assert len(opened) == 2


async def test_who_hears_no_hints_looks_for_work_in_between_the_polls(spine: Spine) -> None:
    async with open_house(spine) as here, open_house(spine) as there:
        agent = await spine.agent()
        peer = await there.connect(agent)
        await there.looked(f"a{agent}")
        await here.dispatcher.submitter.submit([new(agent)])
        await there.dispatcher.look_once()
        assert there.dispatcher.floor.marks() == {}, "alone there are no hints to miss"
        there.dispatcher.wakeups.others = 1
        await there.dispatcher.look_once()
        await peer.given(1)
        await peer.end(peer.delivered[0])
        await there.looked(f"a{agent}")
        there.dispatcher.wakeups.hears = True
        await here.dispatcher.submitter.submit([new(agent)])
        await there.dispatcher.look_once()
        assert there.dispatcher.floor.marks() == {}


async def test_who_hears_no_hints_looks_at_a_waited_for_task_four_times_a_second() -> None:
    loop = asyncio.get_running_loop()
    for misses, longest in ((True, 0.6), (False, 2.0)):
        began = loop.time()
        waiting = waiters.Waiters(lambda misses=misses: misses)  # type: ignore[misc]
        with waiting.bell(1) as bell:
            await waiting.wait(bell, 60)
        assert (0.2 if misses else 0.9) < loop.time() - began < longest


async def test_alone_nothing_is_sent(spine: Spine) -> None:
    async with open_house(spine) as house:
        await house.dispatcher.poll_once()
        house.dispatcher.mark("a1")
        assert house.dispatcher.wakeups.others == 0 and house.dispatcher.wakeups._pump is None
