"""The command line against a real server: everything a user does in the first ten minutes."""

import json
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from tests.e2e.terminal import Terminal, interrupt
from tests.support.guardian import guarded_folder

ECHO = Path(__file__).with_name("echo_agent.py")


@pytest.fixture(scope="module")
def terminal() -> Iterator[Terminal]:
    """A server that `workstation up` started, and an agent of ours that is connected."""
    with guarded_folder() as folder:
        running = Terminal(folder)
        running.up()
        made = running.json("agents", "register", "echo", "--type", "custom", "--capability", "echo")
        running.start_agent(ECHO, made["id"])
        yield running


def test_up_tells_where_everything_is_and_no_secret(terminal: Terminal) -> None:
    text = terminal.output.read_text()
    for part in ("/docs", "embedded PostgreSQL", str(terminal.data), "server.log", "workstation tasks submit"):
        assert part in text
    token = json.loads((terminal.data / "credentials.json").read_text())["token"]
    assert token not in text
    assert (terminal.data / "secret").read_text().strip() not in text


def test_a_second_up_prints_the_status(terminal: Terminal) -> None:
    done = terminal.run("up")
    assert done.returncode == 0
    assert "it runs already" in done.stderr
    assert done.stdout.startswith("✓ ready at ")


def test_a_task_is_done_while_one_waits(terminal: Terminal) -> None:
    done = terminal.run("tasks", "submit", "say", "--agent", "echo", "text=hello", "--wait")
    assert (done.returncode, json.loads(done.stdout)) == (0, {"text": "hello"})
    assert done.stderr.startswith("✓ task ")
    assert "✓ completed in " in done.stderr


def test_a_task_for_a_capability_finds_its_agent(terminal: Terminal) -> None:
    found = terminal.json("tasks", "submit", "say", "--capability", "echo", "text=x", "--wait")
    assert (found["status"], found["agent_name"]) == ("completed", "echo")


def test_what_json_shows_is_what_the_api_tells(terminal: Terminal) -> None:
    number = terminal.run("tasks", "submit", "say", "--agent", "echo", "text=x").stdout.strip()
    assert terminal.run("tasks", "wait", number).returncode == 0
    assert terminal.json("tasks", "show", number) == terminal.api(f"/api/agents/tasks/{number}")
    assert number in [task["id"] for task in terminal.json("tasks", "list", "--agent", "echo")]
    agents = terminal.api("/api/agents")["agents"]
    assert [agent["name"] for agent in terminal.json("agents", "list")] == [agent["name"] for agent in agents]


def test_a_failed_task_exits_with_3_and_can_be_redriven(terminal: Terminal) -> None:
    done = terminal.run("tasks", "submit", "break", "--agent", "echo", "reason=no luck", "--wait", "-o", "json")
    assert done.returncode == 3
    assert "no luck" in done.stderr
    number = json.loads(done.stdout)["id"]
    assert number in [task["id"] for task in terminal.json("tasks", "list", "--dead-letter")]
    assert terminal.run("tasks", "redrive", number).returncode == 0
    assert terminal.run("tasks", "wait", number).returncode == 3
    text = terminal.run("tasks", "show", number).stdout
    assert text.count("failed") >= 3 and "no luck" in text


def test_a_payload_that_does_not_fit_is_told_by_field(terminal: Terminal) -> None:
    done = terminal.run("tasks", "submit", "say", "--agent", "echo", "wrong=1")
    assert done.returncode == 2
    assert '"text"' in done.stderr


def test_a_wait_that_times_out_exits_with_124_and_the_task_goes_on(terminal: Terminal) -> None:
    done = terminal.run("tasks", "submit", "sleep", "--agent", "echo", "seconds:=1.5", "--wait", "0.3")
    assert done.returncode == 124
    number = done.stderr.split()[2]
    assert json.loads(terminal.run("tasks", "wait", number).stdout) == "awake"


def test_ctrl_c_while_waiting_leaves_the_task_running(terminal: Terminal) -> None:
    waiting = terminal.start("tasks", "submit", "sleep", "--agent", "echo", "seconds:=30", "--wait")
    assert waiting.stderr is not None
    number = waiting.stderr.readline().split()[2]
    assert any("running" in line for line in waiting.stderr)
    _, rest = interrupt(waiting)
    assert waiting.returncode == 130
    assert f"task {number} goes on" in rest
    assert terminal.json("tasks", "show", number)["status"] == "running"
    assert terminal.run("tasks", "cancel", number).returncode == 0
    assert terminal.run("tasks", "wait", number).returncode == 3


def test_a_task_that_nobody_can_do_is_explained(terminal: Terminal) -> None:
    number = terminal.run("tasks", "submit", "read", "--capability", "ocr").stdout.strip()
    assert 'capability "ocr"' in terminal.run("tasks", "explain", number).stdout
    assert terminal.run("tasks", "cancel", number).returncode == 0
    assert terminal.run("tasks", "cancel", number).returncode == 6


def test_agents_stop_start_and_restart(terminal: Terminal) -> None:
    assert terminal.run("agents", "stop", "http-agent").returncode == 0
    assert terminal.json("agents", "show", "http-agent")["agent"]["status"] == "stopped"
    assert terminal.run("agents", "start", "http-agent").returncode == 0
    done = terminal.run("agents", "restart", "http-agent")
    assert done.returncode == 0, done.stderr
    assert terminal.json("agents", "show", "http-agent")["agent"]["status"] == "running"
    assert "http-agent" in terminal.run("agents", "logs", "http-agent").stdout


def test_following_an_agents_log_ends_with_ctrl_c(terminal: Terminal) -> None:
    following = terminal.start("agents", "logs", "scraper-agent", "-f")
    assert following.stdout is not None
    first = following.stdout.readline()
    interrupt(following)
    assert following.returncode == 130
    assert "scraper-agent is connected" in first, terminal.run("agents", "logs", "scraper-agent").stdout


def test_a_running_agent_cannot_be_removed(terminal: Terminal) -> None:
    assert terminal.run("agents", "remove", "echo").returncode == 6


def test_events_tell_what_happened_and_go_on_from_a_cursor(terminal: Terminal) -> None:
    last = _last_event(terminal)
    terminal.run("tasks", "submit", "say", "--agent", "echo", "text=x", "--wait")
    lines = terminal.run("events", "tail", "--after", last["cursor"], "--type", "task.", "-o", "jsonl").stdout
    kinds = [json.loads(line)["type"] for line in lines.splitlines()]
    assert kinds == ["task.created", "task.started", "task.completed"]


def _last_event(terminal: Terminal) -> dict[str, str]:
    line = terminal.run("events", "tail", "-n", "1", "-o", "jsonl").stdout
    found: dict[str, str] = json.loads(line)
    return found


def test_a_users_token_may_submit_but_not_stop_agents_until_it_is_revoked(terminal: Terminal) -> None:
    made = terminal.json("token", "create", "--role", "user", "--subject", "bob", "--expires", "1h")
    bob = {"WORKSTATION_TOKEN": made["token"]}
    assert terminal.run("tasks", "submit", "say", "--agent", "echo", "text=x", "--wait", **bob).returncode == 0
    assert terminal.run("agents", "stop", "echo", **bob).returncode == 4
    assert made["id"] in [token["id"] for token in terminal.json("token", "list")]
    assert terminal.run("token", "revoke", made["id"]).returncode == 0
    assert terminal.run("tasks", "list", **bob).returncode == 4


def test_doctor_finds_server_database_and_folder_in_order(terminal: Terminal) -> None:
    done = terminal.run("doctor", "-o", "json")
    found = json.loads(done.stdout)
    states = {one["subject"]: one["level"] for one in found}
    assert {name: states[name] for name in ("data folder", "database", "server")} == {
        "data folder": "ok",
        "database": "ok",
        "server": "ok",
    }
    assert {"disk", "browser", "sandbox", "agents", "tasks"} <= set(states)
    # What depends on the machine and on other tests here may be noted; the rest of a healthy server is well.
    noted = {"disk", "server disk", "browser", "sandbox", "agents", "tasks", "dead letters", "instances", "pool"}
    assert [one for one in found if one["level"] != "ok" and one["subject"] not in noted] == []
    assert {"durability", "snapshots", "dead rows", "listener", "kept connections", "loops", "clock"} <= set(states)


def test_the_server_log_is_readable(terminal: Terminal) -> None:
    done = terminal.run("logs", "-n", "5")
    assert done.returncode == 0
    assert 1 <= len(done.stdout.splitlines()) <= 5


def test_down_stops_everything_and_the_next_up_has_the_tasks(terminal: Terminal) -> None:
    number = terminal.run("tasks", "submit", "read", "--capability", "later").stdout.strip()
    postgres = [int(path.read_text().splitlines()[0]) for path in terminal.data.glob("postgres/*/postmaster.pid")]
    done = terminal.run("down")
    assert (done.returncode, done.stdout) == (0, "")
    assert terminal.server is not None and terminal.server.wait(timeout=10) == 0
    assert postgres and not any(psutil.pid_exists(pid) for pid in postgres)
    assert terminal.run("status").returncode == 7
    assert terminal.run("down").returncode == 0
    terminal.up()
    assert terminal.json("tasks", "show", number)["status"] == "pending"
