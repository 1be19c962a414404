"""`workstation tasks`: looking, taking back, explaining."""

import json

from tests.support.scripted_server import ScriptedServer
from tests.unit.cli.conftest import Run
from tests.unit.cli.samples import agent, task


def test_the_table_of_tasks_tells_tries_and_news(server: ScriptedServer, run: Run) -> None:
    found = [task(2, "failed", retry_count=3), task(1, "pending", agent_name=None, agent_id=None, capability="ocr")]
    server.data("GET /api/agents/tasks", {"tasks": found, "next": None})
    lines = run("tasks", "list").stdout.splitlines()
    assert lines[0].split() == ["ID", "TYPE", "AGENT", "STATUS", "TRY", "AGE", "NEWS"]
    assert lines[1].split()[:5] == ["2", "scrape", "browser-1", "failed", "4/4"]
    assert lines[1].endswith("no such page")
    assert lines[2].split()[:6] == ["1", "scrape", "any", "ocr", "pending", "0/4"]
    assert max(map(len, lines)) <= 80


def test_lists_are_read_page_after_page_up_to_the_limit(server: ScriptedServer, run: Run) -> None:
    pages = [{"tasks": [task(n) for n in range(10, 7, -1)], "next": "8"}, {"tasks": [task(7), task(6)], "next": "6"}]
    server.data("GET /api/agents/tasks", *pages)
    result = run("tasks", "list", "-n", "5", "-o", "jsonl", "--status", "completed", "--dead-letter")
    assert [json.loads(line)["id"] for line in result.stdout.splitlines()] == ["10", "9", "8", "7", "6"]
    first, second = server.queries("GET /api/agents/tasks")
    assert first == {"status": "completed", "dead_letter": "true", "limit": "5"}
    assert second["cursor"] == "8" and second["limit"] == "2"


def test_tasks_are_listed_by_the_name_of_an_agent(server: ScriptedServer, run: Run) -> None:
    server.data("GET /api/agents", {"agents": [agent(3, "browser-1")], "total": 1})
    server.data("GET /api/agents/tasks", {"tasks": [], "next": None})
    run("tasks", "list", "--agent", "browser-1")
    assert server.queries("GET /api/agents/tasks")[0]["agentId"] == "3"


def test_a_task_is_shown_with_attempts_payload_and_result(server: ScriptedServer, run: Run) -> None:
    server.data("GET /api/agents/tasks/42", task())
    tried = {"attempt": 1, "agent_name": "browser-1", "outcome": "completed", "claimed_at": None, "ended_at": None}
    server.data("GET /api/agents/tasks/42/attempts", {"attempts": [tried]})
    text = run("tasks", "show", "42").stdout
    for part in ("42 scrape", "timeout", "30s", "ATTEMPT", '"url": "https://example.com"', '"title": "Example"'):
        assert part in text


def test_a_shown_task_as_json_is_the_data_of_the_api(server: ScriptedServer, run: Run) -> None:
    server.data("GET /api/agents/tasks/42", task(extra={"new": 1}))
    assert json.loads(run("tasks", "show", "42", "-o", "json").stdout) == task(extra={"new": 1})


def test_an_unknown_task_exits_with_5(server: ScriptedServer, run: Run) -> None:
    server.refuse("GET /api/agents/tasks/7", 404, "There is no task 7.", "not_found")
    result = run("tasks", "show", "7")
    assert (result.exit_code, result.stderr) == (5, "Error: There is no task 7.\n")


def test_what_is_no_number_is_a_usage_error(run: Run) -> None:
    result = run("tasks", "show", "scrape")
    assert result.exit_code == 2
    assert "is not a task's number" in result.stderr


def test_cancel_tells_each(server: ScriptedServer, run: Run) -> None:
    server.on("POST /api/agents/tasks/1/cancel", (200, {"success": True}))
    server.refuse("POST /api/agents/tasks/2/cancel", 409, "Task 2 is completed already.", "conflict")
    result = run("tasks", "cancel", "1", "2")
    assert result.exit_code == 8
    assert "task 1 cancelled" in result.stderr
    assert "2: Task 2 is completed already." in result.stderr


def test_redriving_one_that_did_not_fail_exits_with_6(server: ScriptedServer, run: Run) -> None:
    server.refuse("POST /api/agents/tasks/1/redrive", 409, "Task 1 is running.", "conflict")
    assert run("tasks", "redrive", "1").exit_code == 6


def test_explain_says_the_sentence_and_the_gates(server: ScriptedServer, run: Run) -> None:
    gates = [{"gate": "due", "open": True, "message": "It is due."}, {"gate": "x", "open": False, "message": "No."}]
    told = {"id": "57", "status": "pending", "summary": "57 has been pending: No.", "held_by": "x", "gates": gates}
    server.data("GET /api/agents/tasks/57/explain", told)
    assert run("tasks", "explain", "57").stdout == "57 has been pending: No.\n  ✓ It is due.\n  ✗ No.\n"
    assert json.loads(run("tasks", "explain", "57", "-o", "json").stdout) == told
