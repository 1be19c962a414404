"""One live server for all fault tests: each fault must leave it working. Agents and journals are each test's own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from itertools import count
from pathlib import Path

import pytest
from tests.support.agent_process import AgentProcess, Journal, run_spec
from tests.support.guardian import guarded_folder
from tests.support.live_server import LiveServer
from tests.support.measuring import Measured
from tests.support.waiting import until

_numbers = count(1)

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here is a fault test."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.faults)


@pytest.fixture(scope="session")
def live() -> Iterator[LiveServer]:
    """The one server, not started yet."""
    with guarded_folder() as folder:
        yield LiveServer(folder)


@pytest.fixture
async def server(live: LiveServer) -> AsyncIterator[LiveServer]:
    """The server, running."""
    if not live.running:
        await live.start()
    yield live
    await live.close()


@pytest.fixture
def journal(server: LiveServer) -> Journal:
    """A journal for the agents of this test."""
    return Journal(server.folder / f"journal-{next(_numbers)}")


@pytest.fixture
async def started(server: LiveServer, journal: Journal) -> AsyncIterator[Callable[..., Awaitable[int]]]:
    """Registers a journalling agent that the server runs, and starts it; stopped at the end."""
    numbers: list[int] = []

    async def start(**run: object) -> int:
        agent = await server.register(f"process-agent-{next(_numbers)}", run={**run_spec(journal), **run})
        numbers.append(agent)
        answer = await server.client().post(f"/api/agents/{agent}/start")
        assert answer.status_code == 200, answer.text
        return agent

    yield start
    for agent in numbers if server.running else ():
        await server.client().post(f"/api/agents/{agent}/stop", json={"force": True})


@pytest.fixture
async def connected(
    server: LiveServer, journal: Journal
) -> AsyncIterator[Callable[..., Awaitable[tuple[int, list[AgentProcess]]]]]:
    """Registers an agent that is started elsewhere, starts so many instances of it, and waits for their hellos."""
    async with AsyncExitStack() as stack:

        async def connect(instances: int = 1) -> tuple[int, list[AgentProcess]]:
            number = next(_numbers)
            agent = await server.register(f"external-agent-{number}", max_concurrency=4)
            token = await server.agent_token(agent)
            running = [AgentProcess(server, agent, token, journal, f"agent-{number}-{i}") for i in range(instances)]
            for process in running:
                stack.callback(process.end)
            await until(lambda: _has_instances(server, agent, instances), within=20)
            return agent, running

        yield connect


async def _has_instances(server: LiveServer, agent: int, number: int) -> bool:
    query = "select count(*) from agent_instances where agent_id = $1 and status = 'live'"
    return bool(await server.value(query, agent) == number)


@pytest.fixture
def measured(record_property: Callable[[str, object], None]) -> Measured:
    """Where a test tells what it measured."""
    return Measured(record_property)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line for each measurement."""
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.getreports(kind)]
    lines = [value for report in reports for name, value in report.user_properties if name == "measured"]
    if lines:
        terminalreporter.section("measured")
        for line in dict.fromkeys(lines):
            terminalreporter.write_line(str(line))
