"""Several addresses of one installation: clients and agents go on with the next by themselves, and do nothing twice."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count

import pytest

from workstation_sdk import Agent, AsyncClient, Client, Conflict, Context, Patience, Unavailable, Unreachable
from workstation_sdk.protocol import Done, Heartbeat, Held
from workstation_sdk.testing import FakeServer

from .scripted_http import Reply, ScriptedServer, scripted_server
from .serving import until
from .test_client import CREATED, failure, task

_SILENT_PORTS = count(9)


@pytest.fixture
def pair() -> Iterator[tuple[ScriptedServer, ScriptedServer]]:
    """Two scripted servers."""
    with ExitStack() as stack:
        yield stack.enter_context(scripted_server()), stack.enter_context(scripted_server())


@pytest.fixture
def client(pair: tuple[ScriptedServer, ScriptedServer]) -> Iterator[Client]:
    """A client of both."""
    with Client(",".join(server.url for server in pair), "secret") as made:
        yield made


def nobody() -> str:
    """An address where nobody listens, another each time."""
    return f"http://127.0.0.1:{next(_SILENT_PORTS)}"


# -- clients --------------------------------------------------------------------------------------------------------


def test_the_first_is_asked_while_it_answers(pair: tuple[ScriptedServer, ScriptedServer], client: Client) -> None:
    first, second = pair
    first.says(task("completed"))
    for _ in range(3):
        client.get("42")
    assert (len(first.asked), len(second.asked)) == (3, 0)


@pytest.mark.parametrize("answer", [Reply(drop=True), failure(503, "unavailable", Retry_After="5")])
def test_a_submit_goes_on_with_the_next_under_the_same_key_and_at_once(
    pair: tuple[ScriptedServer, ScriptedServer], client: Client, answer: Reply
) -> None:
    first, second = pair
    first.says(answer)
    second.says(CREATED)
    began = time.monotonic()
    assert client.submit("scrape", agent=1) == "42"
    assert time.monotonic() - began < 1
    (asked,), (again,) = first.asked, second.asked
    assert asked.headers["idempotency-key"] == again.headers["idempotency-key"]
    client.submit("scrape", agent=1)
    assert len(first.asked) == 1, "the one that did not answer is asked first again"


def test_what_may_not_be_done_twice_is_not_repeated_elsewhere(
    pair: tuple[ScriptedServer, ScriptedServer], client: Client
) -> None:
    first, second = pair
    first.says(Reply(drop=True))
    with pytest.raises(Unreachable):
        client.redrive("42")
    first.says(failure(503, "unavailable"))
    second.says(failure(503, "unavailable"))
    with pytest.raises(Unavailable):
        client.redrive("42")
    assert (len(first.asked), len(second.asked)) == (1, 1)


def test_what_was_never_sent_may_go_to_any_other() -> None:
    with scripted_server() as server, Client(f"{nobody()},{nobody()},{server.url}", "secret") as client:
        server.says(Reply({"success": True}))
        client.redrive("42")
        assert server.paths == ["POST /api/agents/tasks/42/redrive"]


def test_when_nobody_answers_each_is_asked_once_a_try() -> None:
    with Client(f"{nobody()},{nobody()}", "secret") as client:
        began = time.monotonic()
        with pytest.raises(Unreachable, match=r"no server answers at http://127.0.0.1:\d+,http://127.0.0.1:\d+ "):
            client.call("GET", "/api/agents", tries=1)
        assert time.monotonic() - began < 1


def test_all_unavailable_is_waited_for_as_with_one(pair: tuple[ScriptedServer, ScriptedServer], client: Client) -> None:
    first, second = pair
    first.says(failure(503, "unavailable"), task("completed"))
    second.says(failure(503, "unavailable"))
    assert client.get("42").status == "completed"
    assert (len(first.asked), len(second.asked)) == (2, 1)


def test_a_refusal_is_everybodys_refusal(pair: tuple[ScriptedServer, ScriptedServer], client: Client) -> None:
    first, second = pair
    first.says(failure(409, "conflict"))
    with pytest.raises(Conflict):
        client.cancel("42")
    assert second.asked == []


async def test_the_awaited_client_goes_on_as_well(pair: tuple[ScriptedServer, ScriptedServer]) -> None:
    first, second = pair
    async with AsyncClient(f"{nobody()},{first.url},{second.url}", "secret") as client:
        first.says(Reply(drop=True))
        second.says(task("running"), task("completed", result=7))
        assert (await client.wait("42")).result == 7
        assert (len(first.asked), len(second.asked)) == (1, 2)


# -- agents ---------------------------------------------------------------------------------------------------------


async def test_an_agent_goes_on_with_what_it_holds_at_the_next_server(agent: Agent) -> None:
    gate, runs = asyncio.Event(), []

    @agent.task
    async def wait(ctx: Context) -> str:
        runs.append(ctx.task_id)
        await gate.wait()
        return "waited"

    async with FakeServer() as first, FakeServer() as second:
        serving = asyncio.create_task(agent.serve(url=f"{first.url},{second.url}", token=first.token, agent_id="1"))
        here = await first.connection()
        number = await first.submit(here, "wait")
        await here.expect(Heartbeat)
        began = time.monotonic()
        await first.stop()
        there = await second.connection()
        assert time.monotonic() - began < 2
        assert there.hello.instance == here.hello.instance
        assert there.hello.holding == [Held(number, 1)]
        gate.set()
        assert bytes((await second.outcome(number)).result) == b'"waited"'
        assert runs == [number]
        serving.cancel()


async def test_an_outcome_that_the_first_never_answered_goes_to_the_next_once(agent: Agent) -> None:
    @agent.task
    async def echo(ctx: Context, value: int) -> int:
        return value

    async with FakeServer() as first, FakeServer() as second:
        first.settling = False
        serving = asyncio.create_task(agent.serve(url=f"{first.url},{second.url}", token=first.token, agent_id="1"))
        here = await first.connection()
        number = await first.submit(here, "echo", {"value": 5})
        await here.expect(Done)
        await here.close(1012)
        there = await second.connection()
        await second.outcome(number)
        await until(lambda: there.settled == 1)
        assert len(there.received_of(Done)) == 1
        serving.cancel()


async def test_an_agent_passes_by_those_that_do_not_answer_and_comes_round_again(agent: Agent) -> None:
    async with FakeServer() as server:
        urls = f"{nobody()},{server.url},{nobody()}"
        serving = asyncio.create_task(agent.serve(url=urls, token=server.token, agent_id="1"))
        first = await server.connection(within=2)
        first.abort()
        again = await server.connection(2, within=3)
        assert again.hello.instance == first.hello.instance
        serving.cancel()


async def test_a_dead_instance_comes_back_to_the_same_server_as_another(agent: Agent) -> None:
    async with FakeServer() as first, FakeServer() as second:
        serving = asyncio.create_task(agent.serve(url=f"{first.url},{second.url}", token=first.token, agent_id="1"))
        here = await first.connection()
        await here.close(4409)
        again = await first.connection(2)
        assert again.hello.instance != here.hello.instance and second.hellos == 0
        serving.cancel()


async def test_an_agent_gives_up_when_none_of_them_answered_for_long(agent: Agent) -> None:
    with pytest.raises(Unreachable, match=r"no server at .*,.* for .* s: giving up"):
        await agent.serve(url=f"{nobody()},{nobody()}", token="t", agent_id="1", patience=Patience(offline=0.5))
