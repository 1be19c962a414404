"""Agents are brought up, kept up and taken down as ordered, on a machine that exists only in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from tests.support.spine import Spine, until
from tests.support.yard import ADMIN, Yard, idle, open_yard, running, step, steps_until

from workstation.domain.errors import Unavailable
from workstation.domain.restarts import RestartPolicy
from workstation.runtimes.fake import Program
from workstation.services import agents, supervision


@pytest.fixture
async def yard(spine: Spine) -> AsyncIterator[Yard]:
    async with open_yard(spine) as yard:
        yield yard


async def test_a_wanted_agent_is_started_and_running_with_its_hello(yard: Yard) -> None:
    supervisor = yard.supervisor()
    agent = await yard.agent()
    await step(supervisor)
    assert await yard.status(agent) == "starting"
    (spec,) = yard.copies(agent)
    assert spec.env["WORKSTATION_AGENT_ID"] == str(agent) and spec.env["WORKSTATION_URL"] == "http://here"
    assert spec.env["WORKSTATION_TOKEN"]
    await yard.hello(agent)
    for _ in range(3):
        await step(supervisor)
    assert await yard.status(agent) == "running" and len(yard.copies(agent)) == 1
    told = [row[0] for row in await yard.spine.fetch("select type from events where type ~ '^agent' order by id")]
    assert told == ["agent.start_requested", "agent.starting", "agent.started"]


async def test_an_agent_that_is_not_wanted_is_not_started(yard: Yard) -> None:
    supervisor = yard.supervisor()
    agent = await yard.agent(wanted=False)
    await step(supervisor)
    assert yard.copies(agent) == [] and await yard.launches(agent) == []


async def test_a_crash_is_an_error_and_the_next_start_comes_after_its_pause(yard: Yard) -> None:
    supervisor = yard.supervisor(policy=RestartPolicy(backoff_base=timedelta(minutes=1)))
    agent = await running(yard, supervisor)
    (spec,) = yard.copies(agent)
    yard.machine.crash(spec.launch_id, signal=11)
    await step(supervisor)
    row = await yard.row(agent)
    assert (row["status"], row["status_reason"]) == ("error", "it was killed by signal 11")
    await step(supervisor)
    assert yard.copies(agent) == []
    await yard.spine.execute("update agent_registry set next_start_at = now()")
    await step(supervisor)
    assert len(yard.copies(agent)) == 1


async def test_a_crash_ends_its_instance_its_launch_and_its_token(yard: Yard) -> None:
    supervisor = yard.supervisor()
    agent = await running(yard, supervisor)
    (spec,) = yard.copies(agent)
    yard.machine.crash(spec.launch_id, code=3)
    await step(supervisor)
    assert await yard.spine.value("select status from agent_instances") == "ended"
    launch = (await yard.launches(agent))[0]
    assert (launch["status"], launch["reason"]) == ("ended", "it exited with code 3")
    assert await yard.spine.value("select count(*) from tokens where revoked_at is null") == 0


async def test_the_end_of_a_copy_nudges_the_next_look(yard: Yard) -> None:
    supervisor = yard.supervisor()
    agent = await running(yard, supervisor)
    nudged = asyncio.Event()
    supervisor.nudged_by(nudged.set)
    (spec,) = yard.copies(agent)
    yard.machine.crash(spec.launch_id)
    await asyncio.wait_for(nudged.wait(), 1)


async def test_a_crash_loop_is_given_up_after_five_starts(yard: Yard) -> None:
    supervisor = yard.supervisor()
    agent = await yard.agent("crash")

    async def given_up() -> bool:
        return (await yard.row(agent))["desired_status"] == "stopped"

    await steps_until(supervisor, given_up)
    row = await yard.row(agent)
    assert row["status"] == "stopped"
    assert row["status_reason"] == "given up after 5 starts in 10 minutes: it exited with code 1"
    assert len(await yard.launches(agent)) == 5
    await step(supervisor)
    assert len(await yard.launches(agent)) == 5
    # A new order begins anew.
    await agents.start(yard.spine.database, agent, ADMIN)
    await step(supervisor)
    assert len(await yard.launches(agent)) == 6


async def test_starts_that_fail_count_like_crashes(yard: Yard) -> None:
    supervisor = yard.supervisor()
    agent = await yard.agent("broken")
    await step(supervisor)
    row = await yard.row(agent)
    assert (row["status"], row["status_reason"]) == ("error", "The disk is full: make room.")

    async def given_up() -> bool:
        return (await yard.row(agent))["desired_status"] == "stopped"

    await steps_until(supervisor, given_up)
    assert len(await yard.launches(agent)) == 5
    assert await yard.spine.value("select count(*) from tokens where revoked_at is null") == 0


async def test_a_start_that_cannot_succeed_stays_in_error_until_an_order(yard: Yard) -> None:
    supervisor = yard.supervisor()
    agent = await yard.agent("unheard-of")
    for _ in range(3):
        await step(supervisor)
    row = await yard.row(agent)
    assert row["status"] == "error" and "not installed here" in row["status_reason"]
    assert len(await yard.launches(agent)) == 1
    yard.machine.programs["unheard-of"] = Program()
    await agents.start(yard.spine.database, agent, ADMIN)
    await step(supervisor)
    assert len(yard.copies(agent)) == 1


async def test_a_runtime_that_is_missing_here_is_told_and_holds_up_nobody(yard: Yard) -> None:
    supervisor = yard.supervisor()
    container = await yard.spine.agent(spec='{"image": "x"}', status="starting")
    other = await yard.agent()
    await step(supervisor)
    row = await yard.row(container)
    assert row["status"] == "error" and "container" in row["status_reason"]
    assert len(yard.copies(other)) == 1


async def test_an_agent_that_cannot_be_looked_at_holds_up_nobody(yard: Yard) -> None:
    supervisor = yard.supervisor()
    odd = await running(yard, supervisor)
    await yard.spine.execute("update agent_launches set driver = 'vanished'")
    other = await yard.agent()
    await step(supervisor)
    assert len(yard.copies(other)) == 1
    await yard.spine.execute("update agent_launches set handle = '{\"odd\": 1}', driver = 'process'")
    third = await yard.agent()
    await step(supervisor)
    assert len(yard.copies(third)) == 1 and await yard.status(odd) == "running"


async def test_no_hello_in_time_counts_as_a_crash(yard: Yard) -> None:
    supervisor = yard.supervisor()
    agent = await yard.agent()
    await step(supervisor)
    await yard.spine.execute("update agent_launches set started_at = now() - interval '31 seconds'")
    await step(supervisor)
    row = await yard.row(agent)
    assert row["status"] == "error" and "hello" in row["status_reason"]
    assert yard.copies(agent) == []


async def test_unhealthy_for_too_long_is_restarted(yard: Yard) -> None:
    supervisor = yard.supervisor()
    agent = await running(yard, supervisor)
    await yard.spine.execute("update agent_registry set unhealthy_since = now() - interval '61 seconds'")
    await step(supervisor)
    assert (await yard.row(agent))["status"] == "error"
    await yard.spine.execute("update agent_registry set unhealthy_since = null")

    async def back() -> bool:
        return len(yard.copies(agent)) == 1

    await steps_until(supervisor, back)


async def test_a_machine_that_cannot_be_asked_kills_nobody(yard: Yard) -> None:
    supervisor = yard.supervisor()
    agent = await running(yard, supervisor)
    yard.machine.reachable = False
    for _ in range(3):
        await step(supervisor)
    assert await yard.status(agent) == "running" and len(await yard.launches(agent)) == 1
    yard.machine.reachable = True
    await step(supervisor)
    assert len(yard.copies(agent)) == 1


# -- orders ---------------------------------------------------------------------------------------------------------


async def test_an_order_to_stop_ends_the_copy(yard: Yard) -> None:
    supervisor = yard.supervisor()
    agent = await running(yard, supervisor)
    await agents.stop(yard.spine.database, agent, ADMIN)
    await step(supervisor)
    assert await yard.status(agent) == "stopped" and yard.copies(agent) == []
    launch = (await yard.launches(agent))[0]
    assert (launch["status"], launch["reason"]) == ("ended", "stop was asked for")
    await step(supervisor)
    assert len(await yard.launches(agent)) == 1


async def test_force_does_not_wait(yard: Yard) -> None:
    supervisor = yard.supervisor()
    agent = await running(yard, supervisor, "stubborn")
    await agents.stop(yard.spine.database, agent, ADMIN, force=True)
    async with asyncio.timeout(5):
        await step(supervisor)
    assert await yard.status(agent) == "stopped" and yard.copies(agent) == []


async def test_force_overtakes_a_stop_with_grace(yard: Yard) -> None:
    supervisor = yard.supervisor()
    agent = await running(yard, supervisor, "stubborn")
    await agents.stop(yard.spine.database, agent, ADMIN)
    await supervisor.supervise_once()
    await asyncio.sleep(0.05)
    assert len(yard.copies(agent)) == 1
    await agents.stop(yard.spine.database, agent, ADMIN, force=True)
    async with asyncio.timeout(5):
        await supervisor.supervise_once()
        await until(lambda: yard.copies(agent) == [])


async def test_a_restart_replaces_the_copy_without_counting_as_a_crash(yard: Yard) -> None:
    supervisor = yard.supervisor()
    agent = await running(yard, supervisor)
    (before,) = yard.copies(agent)
    await agents.restart(yard.spine.database, agent, ADMIN)

    async def replaced() -> bool:
        return [spec.launch_id for spec in yard.copies(agent)] not in ([], [before.launch_id])

    await steps_until(supervisor, replaced)
    await yard.hello(agent)
    for _ in range(3):
        await step(supervisor)
    assert await yard.status(agent) == "running" and len(await yard.launches(agent)) == 2
    assert await yard.spine.value("select count(*) from events where type = 'agent.failed'") == 0


async def test_a_stop_while_it_starts_wins(yard: Yard) -> None:
    yard.machine.programs["slow"] = Program(start_delay=timedelta(milliseconds=100))
    supervisor = yard.supervisor()
    agent = await yard.agent("slow")
    await supervisor.supervise_once()
    await agents.stop(yard.spine.database, agent, ADMIN)
    await idle(supervisor)

    async def stopped() -> bool:
        return await yard.status(agent) == "stopped"

    await steps_until(supervisor, stopped)
    assert yard.copies(agent) == []


async def test_an_order_between_the_look_and_the_start_is_not_overlooked(yard: Yard) -> None:
    supervisor = yard.supervisor()
    agent = await yard.agent()
    (row,) = await supervision.list_supervised(yard.spine.database, yard.node_id)
    await agents.stop(yard.spine.database, agent, ADMIN)
    assert not await supervision.open_launch(yard.spine.database, row, uuid4(), yard.node_id, [row["now"]])
    assert await yard.launches(agent) == []
    await step(supervisor)
    assert await yard.status(agent) == "stopped"


async def test_removed_agents_are_taken_down(yard: Yard) -> None:
    supervisor = yard.supervisor()
    agent = await running(yard, supervisor)
    await yard.spine.execute("update agent_registry set removed_at = now(), desired_status = 'stopped'")
    await step(supervisor)
    assert yard.copies(agent) == []


# -- our own end ----------------------------------------------------------------------------------------------------


async def test_a_copy_is_found_again_after_our_restart(yard: Yard) -> None:
    first = yard.supervisor()
    agent = await running(yard, first)
    await first.close()
    second = yard.supervisor()
    for _ in range(2):
        await step(second)
    assert await yard.status(agent) == "running" and len(await yard.launches(agent)) == 1
    (spec,) = yard.copies(agent)
    nudged = asyncio.Event()
    second.nudged_by(nudged.set)
    yard.machine.crash(spec.launch_id)
    await asyncio.wait_for(nudged.wait(), 1)


async def test_a_copy_that_ended_while_we_were_away_is_started_again(yard: Yard) -> None:
    first = yard.supervisor()
    agent = await running(yard, first)
    await first.close()
    (spec,) = yard.copies(agent)
    yard.machine.forget(spec.launch_id)
    second = yard.supervisor()

    async def back() -> bool:
        return len(yard.copies(agent)) == 1

    await steps_until(second, back)
    assert "it is gone" in [launch["reason"] for launch in await yard.launches(agent)]


async def test_a_start_that_was_interrupted_before_its_handle_was_kept_is_made_again(yard: Yard) -> None:
    agent = await yard.agent()
    (row,) = await supervision.list_supervised(yard.spine.database, yard.node_id)
    launch = uuid4()
    assert await supervision.open_launch(yard.spine.database, row, launch, yard.node_id, [row["now"]])
    await yard.issue(agent, launch)
    supervisor = yard.supervisor()

    async def started() -> bool:
        return len(yard.copies(agent)) == 1

    await steps_until(supervisor, started)
    first = (await yard.launches(agent))[0]
    assert (first["id"], first["status"], first["reason"]) == (launch, "ended", "its start was interrupted")
    assert await yard.spine.value("select revoked_at is not null from tokens where launch_id = $1", launch)


async def test_a_copy_whose_handle_could_not_be_kept_does_not_run_on_unseen(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    supervisor = yard.supervisor()
    agent = await yard.agent()

    async def away(*_args: Any) -> None:
        raise Unavailable("gone")

    with monkeypatch.context() as patched:
        patched.setattr(supervision, "keep_handle", away)
        await step(supervisor)
    assert yard.copies(agent) == []

    async def started() -> bool:
        return len(yard.copies(agent)) == 1

    await steps_until(supervisor, started)


async def test_two_supervisors_never_start_an_agent_twice(yard: Yard) -> None:
    supervisors = [yard.supervisor(uuid4()) for _ in range(3)]
    wanted = [await yard.agent() for _ in range(5)]
    await asyncio.gather(*(supervisor.supervise_once() for supervisor in supervisors))
    for supervisor in supervisors:
        await idle(supervisor)
    assert [len(yard.copies(agent)) for agent in wanted] == [1] * 5


async def test_the_agents_of_a_living_replica_are_left_to_it(yard: Yard) -> None:
    node = await yard.node()
    mine, other = yard.supervisor(node), yard.supervisor(await yard.node())
    agent = await running(yard, mine)
    (spec,) = yard.copies(agent)
    yard.machine.crash(spec.launch_id)
    await step(other)
    assert await yard.status(agent) == "running"
    await yard.lapse(node, 31)

    async def taken_over() -> bool:
        return len(yard.copies(agent)) == 1

    await steps_until(other, taken_over)


async def test_going_down_stops_everything_and_starts_nothing_again(yard: Yard) -> None:
    yard.machine.programs["slow"] = Program(start_delay=timedelta(milliseconds=100))
    supervisor = yard.supervisor()
    supervisor.nudged_by(lambda: None)
    ready = [await running(yard, supervisor) for _ in range(2)]
    starting = await yard.agent("slow")
    await supervisor.supervise_once()
    await supervisor.stop_all()
    for _ in range(3):
        await step(supervisor)
    assert yard.machine.running() == []
    for agent in [*ready, starting]:
        row = await yard.row(agent)
        assert (row["status"], row["desired_status"]) == ("stopped", "running")
    after = yard.supervisor()
    await step(after)
    assert len(yard.machine.running()) == 3
