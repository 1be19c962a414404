"""Commands about the server of this machine: up, down, status, logs, doctor."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.support.scripted_server import ScriptedServer
from tests.unit.cli.conftest import run_alone
from tests.unit.cli.samples import agent

from workstation.cli.checks.fleet import GONE
from workstation.cli.server_logs import readable
from workstation.cli.up import announcement
from workstation.server.data_folder import Credentials, DataFolder
from workstation.server.run import Running

OVERVIEW = {
    "totalAgents": 4,
    "runningAgents": 3,
    "stoppedAgents": 1,
    "healthyAgents": 2,
    "degradedAgents": 1,
    "unhealthyAgents": 0,
    "pendingTasks": 17,
    "mcpContainers": 5,
    "agentsByType": {},
}

HOLDER = """
import signal, sys, time
from pathlib import Path
from workstation.server.data_folder import DataFolder
lock = DataFolder(Path(sys.argv[1])).lock()
lock.describe(sys.argv[2])
signal.signal(signal.SIGTERM, signal.SIG_IGN if sys.argv[3] == "stubborn" else signal.SIG_DFL)
print("held", flush=True)
time.sleep(60)
"""


@contextmanager
def held(folder: Path, url: str, manner: str = "obedient") -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the data folder."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder), url, manner], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    try:
        yield holder
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()


@pytest.fixture
def saved(server: ScriptedServer, data_folder: Path) -> ScriptedServer:
    """The scripted server as the one of the data folder: its credentials are saved there."""
    DataFolder(data_folder).write_credentials(Credentials(server.url, "saved-token"))
    return server


def _ready(server: ScriptedServer) -> None:
    server.data("GET /ready", {"status": "ready"})
    server.data("GET /api/agents/system/overview", OVERVIEW)


def test_status_counts_what_is_in_hand(saved: ScriptedServer, data_folder: Path) -> None:
    _ready(saved)
    with held(data_folder, saved.url) as holder:
        lines = run_alone("status").stdout.splitlines()
    assert lines[0] == f"✓ ready at {saved.url} (process {holder.pid})"
    assert lines[1:] == [
        "agents       3 running (2 healthy, 1 degraded, 0 unhealthy), 1 stopped",
        "MCP servers  5",
        "tasks        17 pending",
    ]


def test_status_as_json_has_the_overview_of_the_api(saved: ScriptedServer) -> None:
    _ready(saved)
    told = json.loads(run_alone("status", "-o", "json").stdout)
    assert told["overview"] == OVERVIEW
    assert (told["url"], told["ready"], told["process"]) == (saved.url, True, None)


def test_a_server_that_starts_says_what_is_missing(saved: ScriptedServer) -> None:
    saved.refuse("GET /ready", 503, "Not ready yet: The server is starting.", "unavailable")
    result = run_alone("status")
    assert result.exit_code == 0
    assert "not ready" in result.stdout and "The server is starting." in result.stdout


def test_status_without_any_server_exits_with_7_and_makes_no_folder(data_folder: Path) -> None:
    result = run_alone("status")
    assert result.exit_code == 7
    assert "`workstation up` starts it" in result.stderr
    assert not data_folder.exists()


def test_a_second_up_prints_the_status_and_exits_with_0(saved: ScriptedServer, data_folder: Path) -> None:
    _ready(saved)
    with held(data_folder, saved.url):
        result = run_alone("up")
    assert result.exit_code == 0
    assert "it runs already" in result.stderr
    assert result.stdout.startswith(f"✓ ready at {saved.url}")


def test_up_refuses_a_setting_that_cannot_be_used(data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JWT_SECRET", "short")
    result = run_alone("up")
    assert result.exit_code == 2
    assert "JWT_SECRET" in result.stderr


def test_up_says_who_holds_a_busy_port(server: ScriptedServer, data_folder: Path) -> None:
    command = "from workstation.cli import main; main()"
    port = server.url.rpartition(":")[2]
    done = subprocess.run(
        [sys.executable, "-c", command, "up", "--port", port], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert f"Error: Port {port} is in use by" in done.stderr and f"pid {os.getpid()}" in done.stderr


def test_the_announcement_tells_where_everything_is(data_folder: Path) -> None:
    running = Running(
        "http://127.0.0.1:3000", "embedded PostgreSQL", data_folder, data_folder / "server.log", ("http-agent",)
    )
    text = "\n".join(announcement(running))
    for part in ("http://127.0.0.1:3000/docs", "embedded PostgreSQL", str(data_folder), "server.log", "1 starting"):
        assert part in text
    assert f"export WORKSTATION_DATA_DIR={data_folder}" in text
    assert "agents start browser-automation-agent" in text


def test_down_ends_the_process_that_holds_the_folder(data_folder: Path) -> None:
    with held(data_folder, "http://127.0.0.1:1") as holder:
        result = run_alone("down")
        assert holder.wait(timeout=10) == -signal.SIGTERM
    assert result.exit_code == 0
    assert "stopped in" in result.stderr


def test_down_where_nothing_runs_is_done_already(data_folder: Path) -> None:
    result = run_alone("down")
    assert (result.exit_code, result.stderr) == (0, "✓ nothing runs on this data folder\n")
    assert not data_folder.exists()


def test_down_gives_up_after_its_timeout(data_folder: Path) -> None:
    with held(data_folder, "http://127.0.0.1:1", "stubborn") as holder:
        result = run_alone("down", "--timeout", "0.2s")
        assert holder.poll() is None
    assert result.exit_code == 124


def test_a_log_line_is_readable() -> None:
    line = json.dumps({"timestamp": "2026-08-02T10:00:00Z", "level": "warning", "event": "lease lost", "task": 42})
    assert readable(line)[8:].replace("\x1b[33m", "").replace("\x1b[0m", "") == " warning lease lost  task=42"
    assert readable("not \x1bjson") == "not json"


def test_logs_prints_the_last_lines_as_they_are_kept(data_folder: Path) -> None:
    log = DataFolder(data_folder).server_log
    log.parent.mkdir(exist_ok=True)
    log.write_text("".join(f'{{"event":"e{n}"}}\n' for n in range(5)))
    assert run_alone("logs", "-n", "2", "--raw").stdout == '{"event":"e3"}\n{"event":"e4"}\n'


def test_following_the_log_prints_new_lines(data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = DataFolder(data_folder).server_log
    log.parent.mkdir(exist_ok=True)
    log.write_text('{"event":"old"}\n')
    written = iter(['{"event":"n', 'ew"}\n', None])

    def sleep(_seconds: float) -> None:
        if (part := next(written)) is None:
            raise KeyboardInterrupt
        with log.open("a") as file:
            file.write(part)

    monkeypatch.setattr("workstation.cli.server_logs.time.sleep", sleep)
    result = run_alone("logs", "-f", "--raw")
    assert (result.exit_code, result.stdout) == (130, '{"event":"old"}\n{"event":"new"}\n')


def test_no_log_exits_with_5(data_folder: Path) -> None:
    assert run_alone("logs").exit_code == 5


def utc_text(seconds: float) -> str:
    """The instant so many seconds from now, as the API writes it."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


def _doctor() -> tuple[int, dict[str, list[tuple[str, str]]]]:
    result = run_alone("doctor", "-o", "json")
    found: dict[str, list[tuple[str, str]]] = {}
    for one in json.loads(result.stdout):
        found.setdefault(one["subject"], []).append((one["level"], one["message"]))
    return result.exit_code, found


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trying browser and sandbox takes seconds, and is tested end to end."""
    monkeypatch.setattr("workstation.server.examination.browser", lambda: None)
    monkeypatch.setattr("workstation.server.examination.sandbox_trouble", lambda: "no user namespaces.")


@pytest.mark.usefixtures("quick")
def test_doctor_names_agents_with_problems_and_what_the_server_found(saved: ScriptedServer) -> None:
    _ready(saved)
    fleet = [
        agent(1, "good"),
        agent(2, "dead", status="error", status_reason="exit code 3"),
        agent(3, "slow", healthStatus="degraded", health_metadata={"reason": "queue is long"}),
        agent(4, "off", status="stopped", desired_status="stopped"),
    ]
    saved.data("GET /api/agents", {"agents": fleet, "total": 4})
    told = {"level": "warning", "subject": "tasks", "message": "8 has been pending for 4m12s: no slot."}
    saved.data("GET /api/system/examination", {"findings": [told], "database_time": utc_text(0)})
    code, found = _doctor()
    assert code == 1
    assert [state for state, _ in found["agents"]] == ["problem", "warning"]
    assert "dead is error (exit code 3)" in found["agents"][0][1]
    assert "slow is degraded (queue is long)" in found["agents"][1][1]
    assert found["tasks"] == [("warning", "8 has been pending for 4m12s: no slot.")]
    assert found["browser"][0][0] == "warning"
    assert found["sandbox"] == [("warning", "The code runner refuses tasks: no user namespaces.")]


@pytest.mark.usefixtures("quick")
def test_doctor_awaits_an_agent_of_others_that_has_not_come_yet(saved: ScriptedServer) -> None:
    _ready(saved)
    saved.data("GET /api/agents", {"agents": [agent(1, "mine", status="stopped", runtime="external")], "total": 1})
    saved.data("GET /api/system/examination", {"findings": [], "database_time": None})
    code, found = _doctor()
    assert found["agents"] == [("warning", "mine has not connected yet: start its process.")]
    assert "problem" not in {state for findings in found.values() for state, _ in findings}
    assert code == 0


@pytest.mark.usefixtures("quick")
def test_doctor_misses_an_agent_of_others_that_has_gone(saved: ScriptedServer) -> None:
    assert f"'{GONE}'" in Path("src/workstation/store/sql/agents.sql").read_text()
    _ready(saved)
    left = agent(1, "mine", status="stopped", runtime="external", status_reason=GONE)
    saved.data("GET /api/agents", {"agents": [left], "total": 1})
    saved.data("GET /api/system/examination", {"findings": [], "database_time": None})
    code, found = _doctor()
    assert found["agents"] == [("problem", "mine is gone (no instance is connected): start its process again.")]
    assert code == 1


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(("seconds", "words"), [(90, "1m30s behind"), (-90, "1m30s ahead of"), (1, None)])
def test_doctor_finds_a_clock_that_differs_from_the_databases(
    saved: ScriptedServer, seconds: int, words: str | None
) -> None:
    _ready(saved)
    saved.data("GET /api/agents", {"agents": [], "total": 0})
    saved.data("GET /api/system/examination", {"findings": [], "database_time": utc_text(seconds)})
    _, found = _doctor()
    [(level, message)] = found["clock"]
    if words is None:
        assert level == "ok"
    else:
        assert level == "warning"
        assert re.search(words.replace("30s", "(29|30|31)s"), message), message


@pytest.mark.usefixtures("quick")
def test_doctor_of_a_user_says_that_the_examination_is_for_operators(saved: ScriptedServer) -> None:
    _ready(saved)
    saved.data("GET /api/agents", {"agents": [], "total": 0})
    saved.refuse("GET /api/system/examination", 403, "A token of role user may not do this.", "forbidden")
    _, found = _doctor()
    assert [level for level, _ in found["examination"]] == ["warning"]


@pytest.mark.usefixtures("quick")
def test_doctor_without_a_server_says_how_to_start_one(data_folder: Path) -> None:
    code, found = _doctor()
    assert code == 1
    assert found["server"] == [("problem", "None runs here: `workstation up` starts it.")]
    assert found["data folder"][0][0] == "warning"
    assert not data_folder.exists()


@pytest.mark.usefixtures("quick")
def test_doctor_finds_a_folder_others_can_read(data_folder: Path) -> None:
    DataFolder(data_folder)
    data_folder.chmod(0o755)
    _, found = _doctor()
    assert found["data folder"] == [("problem", f"Other users can read {data_folder}: run chmod go-rwx {data_folder}.")]


@pytest.mark.usefixtures("quick")
def test_doctor_finds_a_database_that_does_not_answer(
    data_folder: Path, monkeypatch: pytest.MonkeyPatch, unused_port: int
) -> None:
    DataFolder(data_folder)
    monkeypatch.setenv("DATABASE_URL", f"postgresql://nobody@127.0.0.1:{unused_port}/none")
    began = time.monotonic()
    _, found = _doctor()
    assert found["database"] == [("problem", "DATABASE_URL does not answer: check the address.")]
    assert time.monotonic() - began < 10
