"""Agents that pull: long polls under the same credit and leases, and nothing is lost when a request breaks off."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import pytest
from tests.integration.gateway.conftest import Gate
from tests.support.spine import new, until

from workstation.api.gateway.pull import PullSessions
from workstation.domain.errors import Conflict, LeaseLost, NotFound, Unavailable
from workstation.domain.principal import Principal, Role
from workstation.domain.tasks import Claim, OutcomeKind, Report
from workstation.services import agents, tasks

ADMIN = Principal("root", Role.ADMIN)
Attempts = list[tuple[int, int]]


class Puller:
    """One pulling instance."""

    def __init__(self, gate: Gate, pulling: PullSessions, agent: int) -> None:
        self.gate = gate
        self.pulling = pulling
        self.agent = agent
        self.instance: UUID | None = None

    async def claim(self, slots: int = 10, wait: float = 5.0, holding: Attempts | None = None) -> list[Claim]:
        self.instance, claims = await self.pulling.claim(self.agent, self.instance, slots, wait, holding)
        return claims

    async def heartbeat(self, holding: Attempts | None = None) -> list[int]:
        assert self.instance is not None
        return await self.pulling.heartbeat(self.agent, self.instance, holding)

    async def complete(self, claim: Claim) -> None:
        report = Report(claim.task_id, claim.attempt, claim.instance_id, OutcomeKind.COMPLETED, result="1")
        self.pulling.returned(claim.instance_id, claim.task_id, claim.attempt)
        await self.gate.house.dispatcher.settler.report(report)


@pytest.fixture
async def puller(gate: Gate) -> AsyncIterator[Puller]:
    """A pulling instance of an agent, not heard of yet."""
    yield Puller(gate, PullSessions(gate.house.dispatcher), await gate.spine.agent())


def numbers(claims: list[Claim]) -> list[int]:
    return [claim.task_id for claim in claims]


async def test_what_waits_is_answered_at_once_and_no_more_than_asked(puller: Puller, gate: Gate) -> None:
    made = await gate.submit(puller.agent, 5)
    async with asyncio.timeout(5):
        assert numbers(await puller.claim(2, wait=60)) == made[:2]
        assert numbers(await puller.claim(9, wait=60)) == made[2:]


async def test_a_poll_that_does_not_wait_still_looks(puller: Puller, gate: Gate) -> None:
    made = await gate.submit(puller.agent)
    assert numbers(await puller.claim(wait=0)) == made


async def test_a_poll_waits_for_the_first_task(puller: Puller, gate: Gate) -> None:
    asking = asyncio.create_task(puller.claim(wait=60))
    await asyncio.sleep(0.05)
    assert not asking.done()
    made = await gate.submit(puller.agent)
    assert numbers(await asyncio.wait_for(asking, 5)) == made


async def test_a_poll_without_work_is_empty_after_its_wait(puller: Puller) -> None:
    assert await puller.claim(wait=0.05) == []
    assert puller.instance is not None


async def test_between_requests_nothing_is_given(puller: Puller, gate: Gate) -> None:
    await puller.claim(wait=0.02)
    (number,) = await gate.submit(puller.agent)
    await gate.house.dispatcher.poll_once()
    await gate.house.quiet()
    assert (await gate.spine.task(number))["status"] == "pending"


async def test_slots_are_per_request_whatever_was_left_of_the_last(puller: Puller, gate: Gate) -> None:
    await puller.claim(7, wait=0.02)
    await gate.submit(puller.agent, 5)
    assert len(await puller.claim(2)) == 2


async def test_an_unknown_a_stopped_and_a_dead_one_are_refused(puller: Puller, gate: Gate) -> None:
    with pytest.raises(NotFound):
        await puller.pulling.claim(999, None, 1, 0, None)
    await puller.claim(wait=0.01)
    await agents.stop(gate.spine.database, puller.agent, ADMIN)
    await gate.house.dispatcher.roster.refresh()
    with pytest.raises(Conflict):
        await puller.claim(wait=0.01)
    await agents.start(gate.spine.database, puller.agent, ADMIN)
    await gate.spine.execute("update agent_instances set status = 'dead', ended_at = now()")
    with pytest.raises(LeaseLost):
        await puller.claim(wait=0.01)


async def test_an_agent_that_was_started_again_is_served_at_once_with_its_old_instance(
    puller: Puller, gate: Gate
) -> None:
    await puller.claim(wait=0.01)
    await agents.stop(gate.spine.database, puller.agent, ADMIN)
    await gate.house.dispatcher.roster.refresh()
    # The news of this has not been read here yet.
    await agents.start(gate.spine.database, puller.agent, ADMIN)
    made = await gate.submit(puller.agent)
    assert numbers(await puller.claim(wait=5)) == made


# -- lost answers ---------------------------------------------------------------------------------------------------


async def test_what_is_held_and_not_listed_comes_again_with_the_same_attempt(puller: Puller, gate: Gate) -> None:
    made = await gate.submit(puller.agent, 2)
    await puller.claim()
    again = await puller.claim(holding=[(made[0], 1)])
    assert [(claim.task_id, claim.attempt) for claim in again] == [(made[1], 1)]
    assert await puller.claim(wait=0.02, holding=[(number, 1) for number in made]) == []


async def test_without_a_list_nothing_is_sent_again(puller: Puller, gate: Gate) -> None:
    await gate.submit(puller.agent)
    await puller.claim()
    assert await puller.claim(wait=0.02) == []


async def test_another_replica_heals_by_the_list_alone(puller: Puller, gate: Gate) -> None:
    made = await gate.submit(puller.agent)
    await puller.claim()
    puller.pulling = PullSessions(gate.house.dispatcher)
    assert numbers(await puller.claim(holding=[])) == made


async def test_a_request_that_breaks_off_leaves_no_credit_behind(puller: Puller, gate: Gate) -> None:
    await puller.claim(wait=0.01)
    asking = asyncio.create_task(puller.claim(wait=60))
    await asyncio.sleep(0.05)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    (number,) = await gate.submit(puller.agent)
    await gate.house.dispatcher.poll_once()
    await gate.house.quiet()
    assert (await gate.spine.task(number))["status"] == "pending"
    assert numbers(await puller.claim()) == [number]


async def test_what_a_broken_request_was_given_is_answered_to_the_next(puller: Puller, gate: Gate) -> None:
    await puller.claim(wait=0.01)
    (number,) = await gate.spine.submit(new(puller.agent))
    run = gate.house.dispatcher.claimer._hot.run
    claiming = asyncio.Event()

    async def slow(work: object) -> object:
        claiming.set()
        await asyncio.sleep(0.05)
        return await run(work)  # type: ignore[arg-type]

    gate.house.dispatcher.claimer._hot.run = slow  # type: ignore[method-assign, assignment]
    asking = asyncio.create_task(puller.claim(wait=60))
    await until(lambda: len(gate.house.dispatcher.floor) == 1)
    await gate.house.dispatcher.poll_once()
    await claiming.wait()
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    gate.house.dispatcher.claimer._hot.run = run  # type: ignore[method-assign]
    assert (await gate.spine.task(number))["status"] == "running"
    assert numbers(await puller.claim()) == [number]
    assert await puller.claim(wait=0.02) == []


async def test_two_requests_of_one_instance_at_once_share_the_work(puller: Puller, gate: Gate) -> None:
    await puller.claim(wait=0.01)
    made = await gate.submit(puller.agent, 4)
    first, second = await asyncio.gather(puller.claim(2, holding=[]), puller.claim(2, holding=[]))
    assert sorted(numbers(first) + numbers(second)) == made


async def test_many_instances_pull_each_task_once(puller: Puller, gate: Gate) -> None:
    made = await gate.submit(puller.agent, 60)
    done: list[Claim] = []
    pullers = [Puller(gate, puller.pulling, puller.agent) for _ in range(6)]

    async def pull(one: Puller) -> list[int]:
        taken: list[int] = []
        while len(done) < len(made):
            claims = await one.claim(3, wait=0.1)
            taken += numbers(claims)
            done.extend(claims)
            for claim in claims:
                await one.complete(claim)
        return taken

    taken = await asyncio.gather(*map(pull, pullers))
    assert sorted(number for each in taken for number in each) == made


# -- heartbeats -----------------------------------------------------------------------------------------------------


async def test_a_heartbeat_renews_and_tells_what_to_stop_once(puller: Puller, gate: Gate) -> None:
    (number,) = await gate.submit(puller.agent)
    await puller.claim()
    await gate.spine.execute("update agent_instances set lease_expires_at = now() + interval '2 seconds'")
    done = await tasks.cancel(gate.spine.database, number, ADMIN)
    gate.house.dispatcher.cancelled(number, done.attempt, done.instance_id)
    assert await puller.heartbeat() == [number]
    assert await puller.heartbeat() == []
    left = await gate.spine.value("select extract(epoch from lease_expires_at - now()) from agent_instances")
    assert left > 10


async def test_what_it_lists_and_does_not_hold_is_to_be_stopped(puller: Puller, gate: Gate) -> None:
    (number,) = await gate.submit(puller.agent)
    await puller.claim()
    assert await puller.heartbeat([(number, 1)]) == []
    assert await puller.heartbeat([(number, 1), (777, 1)]) == [777]
    await tasks.cancel(gate.spine.database, number, ADMIN)
    assert await puller.heartbeat([(number, 1)]) == [number]


async def test_the_next_attempt_is_not_stopped_for_the_last(puller: Puller, gate: Gate) -> None:
    (number,) = await gate.submit(puller.agent)
    (claim,) = await puller.claim()
    lost = Report(number, 1, claim.instance_id, OutcomeKind.LOST)
    await gate.house.dispatcher.settler.report(lost)
    gate.house.dispatcher.take_back(number, 1, claim.instance_id, "lease_lost")
    (second,) = await puller.claim(wait=5)
    assert second.attempt == 2
    assert await puller.heartbeat([(number, 1), (number, 2)]) == []


async def test_an_instance_of_another_agent_is_refused_and_not_renewed(puller: Puller, gate: Gate) -> None:
    await puller.claim(wait=0.01)
    await gate.spine.execute("update agent_instances set lease_expires_at = now() + interval '2 seconds'")
    thief = Puller(gate, puller.pulling, await gate.spine.agent())
    thief.instance = puller.instance
    with pytest.raises(LeaseLost):
        await thief.heartbeat()
    with pytest.raises(LeaseLost):
        await thief.claim(wait=0.01)
    left = await gate.spine.value("select extract(epoch from lease_expires_at - now()) from agent_instances")
    assert left < 3
    made = await gate.submit(puller.agent)
    assert numbers(await puller.claim()) == made


async def test_a_dead_instance_is_told_and_forgotten(puller: Puller, gate: Gate) -> None:
    await puller.claim(wait=0.01)
    assert puller.instance is not None
    await gate.spine.execute("update agent_instances set status = 'dead', ended_at = now()")
    with pytest.raises(LeaseLost):
        await puller.heartbeat()
    assert gate.house.dispatcher.floor.find(puller.instance) is None


async def test_an_instance_nothing_is_heard_of_is_forgotten_after_a_while(puller: Puller, gate: Gate) -> None:
    await puller.claim(wait=0.01)
    assert len(gate.house.dispatcher.floor) == 1
    gate.house.clock.now += 61
    await gate.house.dispatcher.leases.renew_once()
    assert len(gate.house.dispatcher.floor) == 0
    made = await gate.submit(puller.agent)
    assert numbers(await puller.claim()) == made


async def test_a_heartbeat_by_http_does_not_push_out_the_socket_of_its_instance(puller: Puller, gate: Gate) -> None:
    wire = await gate.connect(puller.agent)
    puller.instance = wire.instance
    assert await puller.heartbeat() == []
    await gate.submit(puller.agent)
    await wire.hear_items("tasks")
    assert wire.closed is None


async def test_an_open_poll_counts_as_being_heard(puller: Puller, gate: Gate) -> None:
    asking = asyncio.create_task(puller.claim(wait=60))
    await until(lambda: len(gate.house.dispatcher.floor) == 1)
    gate.house.clock.now += 6
    await asyncio.sleep(1.2)
    await gate.house.dispatcher.leases.renew_once()
    gate.house.clock.now += 6
    made = await gate.submit(puller.agent)
    assert numbers(await asyncio.wait_for(asking, 5)) == made


async def test_a_once_lost_task_does_not_bar_others_when_its_end_was_heard_elsewhere(
    puller: Puller, gate: Gate
) -> None:
    (first,) = await gate.spine.submit(new(puller.agent))
    await gate.spine.execute("update agent_tasks set lost_count = 1")
    (claim,) = await puller.claim()
    assert claim.task_id == first
    await gate.spine.complete(claim)
    (second,) = await gate.spine.submit(new(puller.agent))
    await gate.spine.execute("update agent_tasks set lost_count = 1 where id = $1", second)
    await gate.house.dispatcher.poll_once()
    assert numbers(await puller.claim(wait=5)) == [second]


async def test_a_server_that_goes_down_answers_who_waits_and_refuses_who_asks_again(puller: Puller, gate: Gate) -> None:
    waiting = asyncio.create_task(puller.claim(wait=60))
    await until(lambda: len(gate.house.dispatcher.floor) == 1)
    await asyncio.sleep(0.05)
    gate.house.dispatcher.stop_giving()
    for session in gate.house.dispatcher.floor:
        session.drain("restart")
    async with asyncio.timeout(5):
        assert await waiting == []
    with pytest.raises(Unavailable, match="going down"):
        await puller.claim()
