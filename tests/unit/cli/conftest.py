"""The command line against a scripted server, in this process."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tests.support.scripted_server import ScriptedServer, scripted_server

from workstation.cli.program import program

Run = Callable[..., Result]


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    """A server that answers as the test tells it."""
    with scripted_server() as running:
        yield running


@pytest.fixture
def data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder that nobody has made yet, and no server in the environment."""
    for name in ("WORKSTATION_URL", "WORKSTATION_TOKEN", "DATABASE_URL", "PORT", "JWT_SECRET"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "data"
    monkeypatch.setenv("WORKSTATION_DATA_DIR", str(folder))
    return folder


@pytest.fixture
def run(server: ScriptedServer, data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command against the scripted server; its result has stdout, stderr and exit_code."""
    monkeypatch.setenv("WORKSTATION_URL", server.url)
    monkeypatch.setenv("WORKSTATION_TOKEN", "secret-token")
    return run_alone


def run_alone(*arguments: str, stdin: str | None = None) -> Result:
    """Run a command as the environment is."""
    result = CliRunner().invoke(program, arguments, input=stdin, prog_name="workstation")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def unused_port() -> int:
    """A port on which nobody listens: below those given to clients, bound once to be sure."""
    for port in range(15_000, 16_000):
        with socket.socket() as trial:
            try:
                trial.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no port is free")
