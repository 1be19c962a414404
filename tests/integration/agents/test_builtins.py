"""The table of built-in agents and the command that runs one."""

import asyncio
import os
import subprocess
import sys

import pytest

from workstation.agents.__main__ import load_agent, main
from workstation.agents.builtins import BUILTINS, Builtin, find_builtin
from workstation_sdk.testing import FakeServer


def test_the_browser_agent_is_the_first() -> None:
    assert [builtin.agent_name for builtin in BUILTINS] == [
        "browser-automation-agent",
        "http-agent",
        "scraper-agent",
        "code-runner",
    ]


def test_names_are_unique() -> None:
    names = [name for builtin in BUILTINS for name in (builtin.name, builtin.agent_name)]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("builtin", BUILTINS, ids=lambda builtin: builtin.name)
def test_an_agent_is_what_the_table_says(builtin: Builtin) -> None:
    agent = load_agent(builtin)
    declaration = agent.declaration
    assert declaration.name == builtin.agent_name
    assert tuple(declaration.capabilities) == builtin.capabilities
    schemas = declaration.schemas()
    assert schemas is not None
    assert tuple(schemas) == builtin.capabilities
    assert all("properties" in schema for schema in schemas.values())


def test_an_agent_is_found_by_either_name() -> None:
    assert find_builtin("code") is find_builtin("code-runner") is BUILTINS[3]
    assert find_builtin("nobody") is None


def test_the_table_imports_nothing_heavy() -> None:
    heavy = ("playwright", "httpx", "msgspec", "workstation_sdk")
    code = f"import sys, workstation.agents; print([n for n in {heavy} if n in sys.modules])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


@pytest.mark.parametrize("arguments", [["nobody"], [], ["http", "code"]])
def test_an_unknown_name_says_which_exist(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert all(builtin.name in said for builtin in BUILTINS)


async def test_the_command_serves_an_agent_until_it_is_told_to_stop(shop: str) -> None:
    async with FakeServer(agents={"http-agent": "1"}) as server:
        environment = {**os.environ, "WORKSTATION_URL": server.url, "WORKSTATION_TOKEN": server.token}
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "workstation.agents",
            "http",
            env={**environment, "WORKSTATION_AGENT_ID": "1"},
        )
        connection = await server.connection(within=20)
        task = await server.submit(connection, "request", {"url": f"{shop}/status/204"})
        assert b'"status":204' in bytes((await server.outcome(task)).result)
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 15) == 0
