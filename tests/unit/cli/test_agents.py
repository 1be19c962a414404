"""`workstation agents`."""

import json

from tests.support.scripted_server import ScriptedServer
from tests.unit.cli.conftest import Run
from tests.unit.cli.samples import BORN, agent

FLEET = [agent(1, "browser-1"), agent(2, "ocr-1", status="stopped", healthStatus="unknown")]


def _fleet(server: ScriptedServer) -> None:
    server.data("GET /api/agents", {"agents": FLEET, "total": 2})


def test_the_table_of_agents_is_on_stdout_and_fits(server: ScriptedServer, run: Run) -> None:
    _fleet(server)
    result = run("agents", "list")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "ID  NAME       TYPE     STATUS   HEALTH   CAPABILITIES",
        "1   browser-1  browser  running  healthy  navigate, click",
        "2   ocr-1      browser  stopped  unknown  navigate, click",
    ]
    assert result.stderr == ""


def test_filters_go_to_the_server(server: ScriptedServer, run: Run) -> None:
    _fleet(server)
    run("agents", "list", "--status", "running", "--type", "mcp", "--capability", "x", "--health", "unknown")
    expected = {"status": "running", "type": "mcp", "capability": "x", "health": "unknown"}
    assert server.queries("GET /api/agents") == [expected]


def test_json_is_the_data_of_the_api(server: ScriptedServer, run: Run) -> None:
    _fleet(server)
    assert json.loads(run("agents", "list", "-o", "json").stdout) == FLEET
    lines = run("agents", "list", "-o", "jsonl").stdout.splitlines()
    assert [json.loads(line) for line in lines] == FLEET


def test_no_agents_are_told_on_stderr_alone(server: ScriptedServer, run: Run) -> None:
    server.data("GET /api/agents", {"agents": [], "total": 0})
    result = run("agents", "list")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "No agent fits.\n")


def test_an_agent_is_shown_by_its_name_with_the_reason_of_its_state(server: ScriptedServer, run: Run) -> None:
    _fleet(server)
    shown = agent(2, "ocr-1", status="error", status_reason="exit code 3", status_changed_at=BORN)
    counts = {"completed_tasks": "7", "failed_tasks": "1", "active_tasks": "0", "avg_execution_time_ms": 12.4}
    server.data("GET /api/agents/2", {"agent": shown, "statistics": counts, "stats": counts})
    launch = {"started_at": BORN, "ended_at": "2026-08-02T10:00:03Z", "exit_code": 3, "driver": "process"}
    server.data("GET /api/agents/2/why", {"launches": [launch], "next_start_at": None})
    text = run("agents", "show", "ocr-1").stdout
    assert "exit code 3" in text
    assert "7 completed, 1 failed, 0 active, 12 ms each" in text
    assert "process" in text and "3.0s" in text


def test_an_unknown_name_exits_with_5(server: ScriptedServer, run: Run) -> None:
    _fleet(server)
    result = run("agents", "show", "nobody")
    assert result.exit_code == 5
    assert result.stdout == ""
    assert "no agent is named 'nobody'" in result.stderr


def test_registering_sends_what_was_given_and_nothing_else(server: ScriptedServer, run: Run) -> None:
    server.on("POST /api/agents", (201, {"success": True, "data": {"agent": agent(9, "mine")}}))
    result = run("agents", "register", "mine", "--type", "custom", "--capability", "a", "--run", '{"command": ["x"]}')
    expected = {"name": "mine", "type": "custom", "capabilities": ["a"], "run": {"command": ["x"]}}
    assert server.bodies("POST /api/agents") == [expected]
    assert (result.exit_code, result.stdout) == (0, "")
    assert "agent 9 registered" in result.stderr


def test_a_taken_name_exits_with_6(server: ScriptedServer, run: Run) -> None:
    server.refuse("POST /api/agents", 409, "The name is taken.", "conflict")
    assert run("agents", "register", "mine", "--type", "custom").exit_code == 6


def test_starting_one_agent_keeps_its_own_error(server: ScriptedServer, run: Run) -> None:
    _fleet(server)
    server.refuse("POST /api/agents/2/start", 502, "Agent 2 did not start: exit code 1.", "runtime_failed")
    result = run("agents", "start", "ocr-1")
    assert result.exit_code == 1
    assert result.stderr == "Error: Agent 2 did not start: exit code 1.\n"


def test_starting_many_tells_each_and_exits_with_8_where_some_failed(server: ScriptedServer, run: Run) -> None:
    _fleet(server)
    server.on("POST /api/agents/1/start", (200, {"success": True, "message": "Agent 1 started successfully"}))
    server.refuse("POST /api/agents/2/start", 502, "exit code 1", "runtime_failed")
    result = run("agents", "start", "1", "ocr-1")
    assert result.exit_code == 8
    assert "/2] Agent 1 started successfully" in result.stderr
    assert "/2] ocr-1: exit code 1" in result.stderr
    assert "1 of 2 failed" in result.stderr


def test_where_all_fail_alike_the_exit_code_is_theirs(server: ScriptedServer, run: Run) -> None:
    for number in (1, 2):
        server.refuse(f"DELETE /api/agents/{number}", 409, "It runs.", "conflict")
    assert run("agents", "remove", "1", "2").exit_code == 6


def test_start_all_starts_those_that_are_stopped(server: ScriptedServer, run: Run) -> None:
    _fleet(server)
    server.on("POST /api/agents/2/start", (200, {"success": True, "message": "Agent 2 started successfully"}))
    assert run("agents", "start", "--all").exit_code == 0
    assert [asked.path for asked in server.asked if asked.method == "POST"] == ["/api/agents/2/start"]


def test_neither_names_nor_all_is_a_usage_error(run: Run) -> None:
    assert run("agents", "stop").exit_code == 2
    assert run("agents", "stop", "1", "--all").exit_code == 2


def test_stop_passes_force_and_no_wait_on(server: ScriptedServer, run: Run) -> None:
    server.on("POST /api/agents/1/stop", (202, {"success": True, "message": "Agent 1 is stopping"}))
    run("agents", "stop", "1", "--force", "--no-wait")
    assert server.bodies("POST /api/agents/1/stop") == [{"force": True}]
    assert server.queries("POST /api/agents/1/stop") == [{"wait": "0"}]


def test_health_is_shown_or_reported(server: ScriptedServer, run: Run) -> None:
    told = agent(1, "browser-1", healthStatus="degraded", health_metadata={"queue": 93})
    server.data("GET /api/agents/1", {"agent": told})
    server.on("POST /api/agents/1/health", (200, {"success": True, "message": "ok"}))
    assert "queue 93" in run("agents", "health", "1").stdout
    run("agents", "health", "1", "unhealthy", "--metadata", '{"why": "leak"}')
    assert server.bodies("POST /api/agents/1/health") == [{"healthStatus": "unhealthy", "metadata": {"why": "leak"}}]


def test_logs_are_printed_and_followed(server: ScriptedServer, run: Run) -> None:
    server.on(
        "GET /api/agents/1/logs",
        lambda asked: (
            (200, "one\ntwo\nthree\n") if "follow" in asked.query else (200, {"data": {"lines": ["one", "two"]}})
        ),
    )
    assert run("agents", "logs", "1", "-n", "2").stdout == "one\ntwo\n"
    assert run("agents", "logs", "1", "-f").stdout == "one\ntwo\nthree\n"


def test_following_the_logs_of_nobody_exits_with_5(server: ScriptedServer, run: Run) -> None:
    server.refuse("GET /api/agents/9/logs", 404, "There is no agent 9.", "not_found")
    assert run("agents", "logs", "9", "-f").exit_code == 5


def test_names_of_agents_complete_in_the_shell(server: ScriptedServer, run: Run) -> None:
    from click.shell_completion import ShellComplete

    from workstation.cli.program import program

    _fleet(server)
    completer = ShellComplete(program, {}, "workstation", "_WORKSTATION_COMPLETE")
    found = completer.get_completions(["agents", "start"], "oc")
    assert [item.value for item in found] == ["ocr-1"]


def test_completion_is_silent_where_no_server_answers(data_folder: object) -> None:
    from click.shell_completion import ShellComplete

    from workstation.cli.program import program

    completer = ShellComplete(program, {}, "workstation", "_WORKSTATION_COMPLETE")
    assert completer.get_completions(["agents", "start"], "oc") == []
