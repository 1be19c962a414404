"""The door behind a real server: what only a network shows."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest
import uvicorn
import websockets
from tests.integration.gateway.conftest import Gate
from tests.support.spine import until


class _Quiet(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def listening(gate: Gate) -> AsyncIterator[str]:
    """The door on a port of its own, served as the server does; its address."""
    config = uvicorn.Config(
        gate.door, port=0, lifespan="off", log_config=None, ws="websockets-sansio", ws_max_size=4 * 1024 * 1024,
        ws_per_message_deflate=False, ws_ping_interval=None, timeout_graceful_shutdown=1,
    )  # fmt: skip
    server = _Quiet(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.005)
    try:
        yield f"ws://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving


@asynccontextmanager
async def connected(gate: Gate, agent: int) -> AsyncIterator[websockets.ClientConnection]:
    headers = {"Authorization": f"Bearer agent:{agent}"}
    async with (
        listening(gate) as url,
        websockets.connect(
            f"{url}/api/agents/{agent}/connect", additional_headers=headers, max_size=None
        ) as connection,
    ):
        await connection.send(json.dumps({"kind": "hello", "instance": str(uuid4())}))
        assert json.loads(await connection.recv())["kind"] == "welcome"
        yield connection


async def test_a_task_goes_out_and_its_result_comes_back(gate: Gate) -> None:
    agent = await gate.spine.agent()
    async with connected(gate, agent) as connection:
        (number,) = await gate.submit(agent, payload=json.dumps({"blob": "x" * 900_000}))
        frame = json.loads(await connection.recv())
        assert len(frame["items"][0]["payload"]["blob"]) == 900_000
        result = "y" * (1024 * 1024 - 2)
        items = [{"task": str(number), "attempt": 1, "result": result}]
        await connection.send(json.dumps({"kind": "done", "items": items}))
        assert json.loads(await connection.recv())["items"][0]["status"] == "completed"


async def test_a_message_over_the_limit_closes_the_connection_and_the_instance_may_come_back(gate: Gate) -> None:
    agent = await gate.spine.agent()
    async with connected(gate, agent) as connection:
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await connection.send("x" * (4 * 1024 * 1024 + 1))
            await connection.recv()
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 1009
    assert await gate.spine.value("select status from agent_instances") == "live"


async def test_the_code_of_a_refusal_reaches_the_peer(gate: Gate) -> None:
    async with listening(gate) as url:
        for path, code in (("/api/agents/1/connect", 4401), ("/elsewhere", 4404)):
            async with websockets.connect(f"{url}{path}") as connection:
                await connection.wait_closed()
                assert connection.close_code == code


async def test_an_agent_that_vanishes_has_three_seconds(gate: Gate) -> None:
    agent = await gate.spine.agent()
    async with connected(gate, agent) as connection:
        connection.transport.abort()
        async with asyncio.timeout(5):
            while (
                await gate.spine.value("select extract(epoch from lease_expires_at - now()) from agent_instances")
            ) > 3:
                await asyncio.sleep(0.01)


async def test_a_server_that_goes_down_lets_nobody_in_and_says_so_to_a_load_balancer(gate: Gate) -> None:
    gate.house.dispatcher.stop_giving()
    async with listening(gate) as url:
        with pytest.raises(websockets.InvalidStatus) as refused:
            await websockets.connect(f"{url}/api/agents/1/connect")
    answer = refused.value.response
    assert answer.status_code == 503 and answer.headers["retry-after"]
    assert json.loads(answer.body or b"")["code"] == "unavailable"


async def test_who_is_sent_away_keeps_its_whole_lease_and_its_tasks(gate: Gate) -> None:
    agent = await gate.spine.agent()
    async with connected(gate, agent) as connection:
        await gate.submit(agent)
        await connection.recv()
        await gate.spine.execute("update agent_instances set lease_expires_at = now() + interval '4 seconds'")
        (session,) = gate.house.dispatcher.floor
        session.close(1012, "This server goes down.")
        await connection.wait_closed()
        assert connection.close_code == 1012
    await until(lambda: len(gate.house.dispatcher.floor) == 0)
    await until(lambda: _has_its_lease(gate))
    assert await gate.spine.value("select status from agent_tasks") == "running"


async def _has_its_lease(gate: Gate) -> bool:
    left = await gate.spine.value("select extract(epoch from lease_expires_at - now()) from agent_instances")
    return bool(left > 10)
