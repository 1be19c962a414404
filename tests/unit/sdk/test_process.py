"""An agent as a process: signals, exit codes and last words."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from workstation_sdk.protocol import Bye, Credit, DoneItem, ReleaseItem
from workstation_sdk.testing import FakeServer

Start = Callable[..., Awaitable[Process]]
PROGRAM = Path(__file__).with_name("program.py")


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Starts the program with an environment, and kills what is left."""
    started: list[Process] = []

    async def begin(**environment: str) -> Process:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("WORKSTATION_")}
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            PROGRAM,
            env={**clean, "WORKSTATION_DATA_DIR": str(tmp_path), **environment},
            stdout=PIPE,
            stderr=PIPE,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        if process.returncode is None:
            process.kill()
            await process.wait()


def environment(server: FakeServer, **more: str) -> dict[str, str]:
    return {"WORKSTATION_URL": server.url, "WORKSTATION_TOKEN": server.token, **more}


async def ended(process: Process, within: float = 15) -> tuple[int | None, str, str]:
    out, err = await asyncio.wait_for(process.communicate(), within)
    return process.returncode, out.decode(), err.decode()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains_the_agent_and_it_exits_with_0(
    start: Start, server: FakeServer, number: signal.Signals
) -> None:
    process = await start(**environment(server, WORKSTATION_LAUNCH="0b5d0a1c-6a3f-4d0e-9d0f-2f8c7b1a9e55"))
    connection = await server.connection(within=15)
    assert connection.hello.launch == "0b5d0a1c-6a3f-4d0e-9d0f-2f8c7b1a9e55"
    task = await server.submit(connection, "wait", {"seconds": 0.3})
    await connection.expect_held(task)
    process.send_signal(number)
    code, out, _ = await ended(process)
    assert (code, out.split()) == (0, ["opened", "closed"])
    assert isinstance(server.outcomes[task], DoneItem)
    assert isinstance(connection.received[-1], Bye)


async def test_a_second_signal_gives_back_at_once(start: Start, server: FakeServer) -> None:
    process = await start(**environment(server))
    connection = await server.connection(within=15)
    tasks = [await server.submit(connection, name, {"seconds": 60}) for name in ("wait", "deaf")]
    await connection.expect_held(*tasks)
    process.send_signal(signal.SIGTERM)
    await connection.expect(Credit)
    process.send_signal(signal.SIGTERM)
    code, _, _ = await ended(process, within=8)
    assert code == 0
    assert [type(server.outcomes[task]) for task in tasks] == [ReleaseItem, ReleaseItem]


async def test_a_signal_before_there_is_a_server_ends_the_agent(start: Start) -> None:
    process = await start(WORKSTATION_URL="http://127.0.0.1:9", WORKSTATION_TOKEN="t", WORKSTATION_AGENT_ID="1")
    assert process.stdout is not None
    assert await asyncio.wait_for(process.stdout.readline(), 15) == b"opened\n"
    process.send_signal(signal.SIGTERM)
    assert (await ended(process))[0] == 0


async def test_without_a_token_it_says_what_to_set(start: Start) -> None:
    code, _, err = await ended(await start(WORKSTATION_URL="http://127.0.0.1:9"))
    assert code == 2
    assert err == "test-agent: no token: set WORKSTATION_TOKEN (`workstation token create` prints one)\n"


async def test_a_refused_token_is_its_own_exit_code(start: Start, server: FakeServer) -> None:
    process = await start(WORKSTATION_URL=server.url, WORKSTATION_TOKEN="wrong", WORKSTATION_AGENT_ID="1")
    code, _, err = await ended(process)
    assert code == 4
    assert "WORKSTATION_TOKEN" in err.splitlines()[-1]


async def test_an_unknown_agent_is_its_own_exit_code(start: Start) -> None:
    async with FakeServer(agents={}) as server:
        code, _, err = await ended(await start(**environment(server)))
    assert code == 5
    assert "no agent is named 'test-agent'" in err
