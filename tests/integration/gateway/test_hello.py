"""Who comes in, who is sent away with which code, and what both sides then hold."""

import asyncio
from uuid import uuid4

import pytest
from tests.integration.gateway.conftest import Gate
from tests.support.spine import until

from workstation.api.gateway import door as door_module
from workstation.api.gateway.door import AgentDoor
from workstation.domain.principal import Principal, Role
from workstation.services import agents

ADMIN = Principal("root", Role.ADMIN)
GOOD = '{"kind": "hello", "instance": "5f1d7e5e-6f0c-4e0b-9a35-0c2d8b7c1a11"'


@pytest.mark.parametrize("token", [None, "forged"])
async def test_who_has_no_good_token_is_sent_away(gate: Gate, token: str | None) -> None:
    agent = await gate.spine.agent()
    wire = await gate.knock(agent, token)
    assert await wire.end() == 4401


@pytest.mark.parametrize("token", ["agent:999", "user"])
async def test_a_token_of_another_agent_or_of_no_agent_is_refused(gate: Gate, token: str) -> None:
    agent = await gate.spine.agent()
    wire = await gate.knock(agent, token)
    assert await wire.end() == 4403


async def test_an_admin_may_speak_for_any_agent(gate: Gate) -> None:
    wire = await gate.knock(await gate.spine.agent(), "admin")
    assert (await wire.hello())["kind"] == "welcome"


async def test_an_unknown_agent_is_sent_away_for_good(gate: Gate) -> None:
    wire = await gate.knock(77)
    wire.say("hello", instance=str(uuid4()))
    assert await wire.end() == 4404
    wire = await gate.knock("x/y", "admin")
    assert await wire.end() == 4404


@pytest.mark.parametrize(
    "first",
    [
        '{"kind": "heartbeat"}',
        '{"kind": "hello"}',
        "{",
        "[]",
        GOOD.replace("5f1d", "zzzz") + "}",
        GOOD + ', "slots": 0}',
        GOOD + ', "tasks": {"t": ' + "[" * 3000 + "]" * 3000 + "}}",
        GOOD + ', "region": "a\\u0000b"}',
        GOOD + ', "tasks": {"t": {"const": "\\u0000"}}}',
    ],
)
async def test_a_first_frame_that_is_no_hello_is_not_this_protocol(gate: Gate, first: str) -> None:
    wire = await gate.knock(await gate.spine.agent())
    wire.say_text(first)
    assert await wire.end() == 4400
    assert await gate.spine.value("select count(*) from agent_instances") == 0


async def test_who_says_nothing_is_asked_to_come_again(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door_module, "_HELLO_SECONDS", 0.05)
    wire = await gate.knock(await gate.spine.agent())
    assert await wire.end() == 4408


async def test_who_hangs_up_before_hello_leaves_nothing(gate: Gate) -> None:
    wire = await gate.knock(await gate.spine.agent())
    await wire.hang_up()
    assert wire.closed is None
    assert await gate.spine.value("select count(*) from agent_instances") == 0


async def test_a_stopped_agent_is_not_let_in(gate: Gate) -> None:
    wire = await gate.knock(await gate.spine.agent(desired_status="stopped", status="stopped"))
    wire.say("hello", instance=str(uuid4()))
    assert await wire.end() == 4409


async def test_a_dead_instance_has_to_come_as_a_new_one(gate: Gate) -> None:
    agent = await gate.spine.agent()
    dead = await gate.spine.instance(agent)
    await gate.spine.execute("update agent_instances set status = 'dead', ended_at = now()")
    wire = await gate.knock(agent)
    wire.say("hello", instance=str(dead))
    assert await wire.end() == 4409


async def test_an_instance_of_another_agent_is_refused(gate: Gate) -> None:
    taken = await gate.spine.instance(await gate.spine.agent())
    wire = await gate.knock(await gate.spine.agent())
    wire.say("hello", instance=str(taken))
    assert await wire.end() == 4409


async def test_a_server_that_is_not_ready_asks_to_come_again(gate: Gate) -> None:
    gate.door = AgentDoor(gate.house.dispatcher, 10)
    wire = await gate.knock(1)
    assert await wire.end() == 1012


async def test_the_welcome_tells_what_counts_here(gate: Gate) -> None:
    agent = await gate.spine.agent("browser", max_concurrency=3)
    wire = await gate.knock(agent)
    welcome = await wire.hello(slots=7)
    assert welcome == {
        "kind": "welcome",
        "agent": str(agent),
        "name": "browser",
        "instance": str(wire.instance),
        "slots": 7,
        "lease_ms": 15_000,
        "heartbeat_ms": 5_000,
    }


async def test_slots_come_from_the_registry_or_from_the_server_where_the_agent_names_none(gate: Gate) -> None:
    wire = await gate.knock(await gate.spine.agent(max_concurrency=3))
    assert (await wire.hello(slots=None))["slots"] == 3
    wire = await gate.knock(await gate.spine.agent())
    assert (await wire.hello())["slots"] == 10
    assert await gate.credit(wire) == 10


async def test_unknown_fields_are_ignored(gate: Gate) -> None:
    wire = await gate.knock(await gate.spine.agent())
    assert (await wire.hello(colour="blue"))["kind"] == "welcome"


async def test_what_an_agent_declares_is_in_the_registry_at_once(gate: Gate) -> None:
    agent = await gate.spine.agent()
    await gate.connect(agent, tasks={"scrape": None}, capabilities=["ocr"], region="eu")
    view = gate.house.dispatcher.roster.find(agent)
    assert view is not None
    assert view.task_types == {"scrape": None} and view.capabilities == {"ocr"}


# -- coming back ----------------------------------------------------------------------------------------------------


async def test_who_comes_back_in_time_keeps_its_tasks(gate: Gate) -> None:
    agent = await gate.spine.agent()
    first = await gate.connect(agent)
    (number,) = await gate.submit(agent)
    await first.hear_items("tasks")
    await first.hang_up()
    left = await gate.spine.value("select extract(epoch from lease_expires_at - now()) from agent_instances")
    assert left <= 3
    again = await gate.connect(agent, instance=first.instance, holding=[{"task": str(number), "attempt": 1}])
    assert again.frames("tasks") == [] and again.frames("cancel") == []
    assert await gate.credit(again) == 9
    again.say("done", items=[{"task": str(number), "attempt": 1, "result": {}}])
    (settled,) = await again.hear_items("settled")
    assert settled["status"] == "completed" and await gate.credit(again) == 10


async def test_what_the_agent_lost_is_sent_again_and_what_it_lost_hold_of_is_cancelled(gate: Gate) -> None:
    agent = await gate.spine.agent()
    first = await gate.connect(agent)
    lost, gone = await gate.submit(agent, 2)
    await first.hear_items("tasks", 2)
    await first.hang_up()
    await gate.spine.execute(
        "update agent_tasks set status = 'cancelled', instance_id = null, deadline_at = null, completed_at = now()"
        " where id = $1",
        gone,
    )
    again = await gate.connect(agent, instance=first.instance, holding=[{"task": str(gone), "attempt": 1}])
    (task,) = await again.hear_items("tasks")
    assert (task["id"], task["attempt"]) == (str(lost), 1)
    (cancelled,) = await again.hear_items("cancel")
    assert cancelled == {"task": str(gone), "attempt": 1, "reason": "lease_lost"}
    assert await gate.credit(again) == 9


async def test_a_second_connection_of_an_instance_takes_over(gate: Gate) -> None:
    agent = await gate.spine.agent()
    first = await gate.connect(agent)
    second = await gate.connect(agent, instance=first.instance)
    assert await first.end() == 4408
    await gate.submit(agent)
    await second.hear_items("tasks")
    left = await gate.spine.value("select extract(epoch from lease_expires_at - now()) from agent_instances")
    assert left > 10, "the end of the first connection shortened the lease of the second"


# -- sent away later ------------------------------------------------------------------------------------------------


async def test_a_revoked_token_closes_every_socket_it_opened(gate: Gate) -> None:
    agent, other = await gate.spine.agent(), await gate.spine.agent()
    first, second, unrelated = await gate.connect(agent), await gate.connect(agent), await gate.connect(other)
    gate.door.close_revoked(frozenset({f"agent:{agent}"}))
    assert await first.end() == 4401 and await second.end() == 4401
    assert unrelated.closed is None


async def test_a_token_revoked_before_hello_lets_nobody_in(gate: Gate) -> None:
    agent = await gate.spine.agent()
    wire = await gate.knock(agent)
    await asyncio.sleep(0.01)
    gate.door.close_revoked(frozenset({f"agent:{agent}"}))
    wire.say("hello", instance=str(uuid4()))
    assert await wire.end() == 4401
    assert await gate.spine.value("select count(*) from agent_instances") == 0


async def test_a_server_that_goes_down_says_so_to_everybody(gate: Gate) -> None:
    agent = await gate.spine.agent()
    wires = [await gate.connect(agent) for _ in range(3)]
    gate.door.close_all()
    assert [await wire.end() for wire in wires] == [1012] * 3


async def test_an_instance_whose_lease_lapsed_is_closed_as_dead(gate: Gate) -> None:
    wire = await gate.connect(await gate.spine.agent())
    gate.house.dispatcher.close_instances([wire.instance], 4409, "lapsed")
    assert await wire.end() == 4409


async def test_a_stopped_agent_is_told_to_drain_and_takes_nothing_more(gate: Gate) -> None:
    agent = await gate.spine.agent()
    wire = await gate.connect(agent)
    await agents.stop(gate.spine.database, agent, ADMIN)
    await gate.house.dispatcher.roster.refresh()
    (drain,) = await wire.hear("drain")
    assert drain["reason"] == "stopped"
    await until(lambda: _is_draining(gate))
    await gate.submit(agent)
    await gate.house.dispatcher.poll_once()
    await gate.house.quiet()
    assert wire.frames("tasks") == []


async def _is_draining(gate: Gate) -> bool:
    return bool(await gate.spine.value("select status = 'draining' from agent_instances"))


async def test_goodbye_gives_back_what_is_held_and_ends_the_instance(gate: Gate) -> None:
    agent = await gate.spine.agent()
    wire = await gate.connect(agent)
    (number,) = await gate.submit(agent)
    await wire.hear_items("tasks")
    wire.say("bye")
    assert await wire.end() == 1000
    row = await gate.spine.task(number)
    assert (row["status"], row["retry_count"], row["release_count"]) == ("pending", 0, 1)
    assert await gate.spine.value("select status from agent_instances") == "ended"
    assert gate.house.dispatcher.floor.find(wire.instance) is None


async def test_reports_before_goodbye_are_answered(gate: Gate) -> None:
    agent = await gate.spine.agent()
    wire = await gate.connect(agent)
    (number,) = await gate.submit(agent)
    await wire.hear_items("tasks")
    wire.say("done", items=[{"task": str(number), "attempt": 1, "result": 1}])
    wire.say("bye")
    await wire.end()
    assert [item["status"] for item in wire.items("settled")] == ["completed"]


async def test_a_server_that_goes_down_lets_back_in_who_holds_something_and_asks_it_to_finish(gate: Gate) -> None:
    agent = await gate.spine.agent()
    wire = await gate.connect(agent)
    (made,) = await gate.submit(agent)
    await wire.hear_items("tasks")
    gate.house.dispatcher.stop_giving()
    await wire.hang_up()
    gate.door.let_back_in()
    idle = await gate.knock(agent)
    idle.say("hello", instance=str(uuid4()))
    assert await idle.end() == 1012
    back = await gate.knock(agent)
    await back.hello(wire.instance, holding=[{"task": str(made), "attempt": 1}])
    (told,) = await back.hear("drain")
    assert told["reason"] == "restart"
    back.say("done", items=[{"task": str(made), "attempt": 1, "result": 1}])
    (settled,) = await back.hear_items("settled")
    assert settled["status"] == "completed"
