"""`workstation tasks submit`, and waiting."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.support.scripted_server import Asked, ScriptedServer
from tests.unit.cli.conftest import Run
from tests.unit.cli.samples import agent, running, task

CREATE = "POST /api/agents/tasks"
LOOK = "GET /api/agents/tasks/42"


@pytest.fixture(autouse=True)
def _created(server: ScriptedServer) -> None:
    server.on(CREATE, (201, {"success": True, "taskId": "42", "data": {"taskId": "42"}}))
    server.data("GET /api/agents", {"agents": [agent(7, "browser-1")], "total": 1})


def test_the_number_alone_is_on_stdout(server: ScriptedServer, run: Run) -> None:
    result = run("tasks", "submit", "scrape", "--agent", "browser-1", "url=https://example.com", "depth:=2")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "42\n", "✓ task 42 queued\n")
    expected = {"type": "scrape", "agent_id": "7", "payload": {"url": "https://example.com", "depth": 2}}
    assert server.bodies(CREATE) == [expected]


def test_every_option_reaches_the_server(server: ScriptedServer, run: Run) -> None:
    options = "--priority 8 --max-retries 0 --timeout 90s --run-at 2026-08-02T10:00:00Z --region eu --key k1"
    result = run("tasks", "submit", "x", "--capability", "ocr", *options.split(), "-o", "json")
    assert json.loads(result.stdout) == {"taskId": "42"}
    (body,) = server.bodies(CREATE)
    assert datetime.fromisoformat(body.pop("run_at")) == datetime(2026, 8, 2, 10, tzinfo=UTC)
    assert body == {
        "type": "x",
        "payload": {},
        "capability": "ocr",
        "priority": 8,
        "max_retries": 0,
        "timeout_ms": 90_000,
        "region": "eu",
    }
    (asked,) = [asked for asked in server.asked if asked.method == "POST"]
    assert asked.headers["idempotency-key"] == "k1"


@pytest.mark.parametrize("given", ["argument", "file", "stdin"])
def test_a_payload_comes_from_an_argument_a_file_or_stdin(
    given: str, server: ScriptedServer, run: Run, tmp_path: Path
) -> None:
    text = '{"a": 1, "b": 2}'
    (tmp_path / "p.json").write_text(text)
    value = {"argument": text, "file": f"@{tmp_path}/p.json", "stdin": "-"}[given]
    run("tasks", "submit", "x", "--agent", "1", "--payload", value, "b=over", stdin=text)
    assert server.bodies(CREATE)[0]["payload"] == {"a": 1, "b": "over"}


@pytest.mark.parametrize("value", ["[1]", "{", "@/nowhere.json"])
def test_a_payload_that_is_no_object_is_a_usage_error(value: str, server: ScriptedServer, run: Run) -> None:
    assert run("tasks", "submit", "x", "--agent", "1", "--payload", value).exit_code == 2
    assert server.bodies(CREATE) == []


def test_nobody_or_two_to_do_it_is_a_usage_error(run: Run) -> None:
    assert run("tasks", "submit", "x").exit_code == 2
    assert run("tasks", "submit", "x", "--agent", "1", "--capability", "c").exit_code == 2


def test_what_the_server_objects_to_is_told_field_by_field(server: ScriptedServer, run: Run) -> None:
    details = [{"field": "payload.url", "message": "is required"}]
    server.refuse(CREATE, 422, "The payload does not fit.", "payload_invalid", details=details)
    result = run("tasks", "submit", "x", "--agent", "1")
    assert (result.exit_code, result.stderr) == (2, "Error: The payload does not fit.\n  payload.url: is required\n")


def test_a_full_queue_exits_with_75(server: ScriptedServer, run: Run) -> None:
    server.refuse(CREATE, 429, "The queue is full.", "queue_full")
    assert run("tasks", "submit", "x", "--agent", "1").exit_code == 75


def test_waiting_shows_progress_on_stderr_and_the_result_on_stdout(server: ScriptedServer, run: Run) -> None:
    server.data(LOOK, task(status="pending"), running(10, "opening page"), running(58, "reading page"), task())
    result = run("tasks", "submit", "scrape", "--agent", "1", "--wait", "url=https://example.com")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {"title": "Example"}
    assert result.stderr.splitlines() == [
        "✓ task 42 queued",
        "… pending",
        "… running, attempt 1/4  10%  opening page",
        "… running, attempt 1/4  58%  reading page",
        "✓ completed in 6.2 s",
    ]


def test_a_failed_task_exits_with_3_and_leaves_stdout_empty(server: ScriptedServer, run: Run) -> None:
    server.data(LOOK, task(status="failed", retry_count=3))
    result = run("tasks", "submit", "scrape", "--agent", "1", "--wait")
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr.endswith("✗ failed after 4 attempts in 6.2 s: no such page\n")


def test_a_waited_for_task_as_json_is_the_data_of_the_api(server: ScriptedServer, run: Run) -> None:
    server.data(LOOK, task(status="failed"))
    result = run("tasks", "wait", "42", "-o", "json")
    assert result.exit_code == 3
    assert json.loads(result.stdout) == task(status="failed")


def test_a_retry_tells_what_went_wrong_before(server: ScriptedServer, run: Run) -> None:
    again = task(
        status="pending", retry_count=1, attempt=1, error={"message": "timed out"}, run_at="2026-08-02T10:00:00Z"
    )
    server.data(LOOK, again, task())
    assert "… pending, retry 1/3: timed out" in run("tasks", "wait", "42").stderr


def test_a_task_that_waits_long_says_why(server: ScriptedServer, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workstation.cli.following.PATIENCE_SECONDS", 0.0)
    server.data(LOOK, task(status="pending"), task())
    why = {"held_by": "no_agent", "summary": '42 has been pending for 3s: no agent has "ocr": register one.'}
    server.data("GET /api/agents/tasks/42/explain", why)
    assert '… pending  no agent has "ocr": register one.' in run("tasks", "wait", "42").stderr


@pytest.mark.parametrize("words", [["--wait", "0.1"], ["--wait=0.1"]])
def test_a_wait_that_times_out_exits_with_124(words: list[str], server: ScriptedServer, run: Run) -> None:
    server.data(LOOK, task(status="running"))
    result = run("tasks", "submit", "scrape", *words, "--agent", "1")
    assert result.exit_code == 124
    assert "task 42 is still running: it goes on" in result.stderr


def test_interrupting_leaves_the_task_alone_and_exits_with_130(server: ScriptedServer, run: Run) -> None:
    import signal

    def interrupted(asked: Asked) -> tuple[int, object]:
        signal.raise_signal(signal.SIGINT)
        return 200, {"data": task(status="running")}

    server.on(LOOK, interrupted)
    result = run("tasks", "wait", "42")
    assert result.exit_code == 130
    assert result.stderr.startswith("Interrupted: task 42 goes on.")
    assert {asked.method for asked in server.asked} == {"GET"}


def test_many_are_waited_for_and_3_says_that_one_failed(server: ScriptedServer, run: Run) -> None:
    server.data(LOOK, task())
    server.data("GET /api/agents/tasks/43", task(43, "cancelled"))
    result = run("tasks", "wait", "42", "43")
    assert result.exit_code == 3
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["ID", "42", "43"]
    assert "✓ task 42 completed in 6.2 s" in result.stderr
    assert "✗ task 43 cancelled after 6.2 s" in result.stderr


def test_watching_prints_each_change_on_stdout(server: ScriptedServer, run: Run) -> None:
    server.data(LOOK, running(10, "a"), running(10, "a"), running(90, "b"), task())
    result = run("tasks", "watch", "42")
    assert result.exit_code == 0
    assert [line[10:] for line in result.stdout.splitlines()] == [
        "running, attempt 1/4  10%  a",
        "running, attempt 1/4  90%  b",
        "completed",
    ]


def test_watching_as_json_lines_gives_the_task_at_each_change(server: ScriptedServer, run: Run) -> None:
    server.data(LOOK, running(10, "a"), task())
    lines = run("tasks", "watch", "42", "-o", "jsonl").stdout.splitlines()
    assert [json.loads(line)["status"] for line in lines] == ["running", "completed"]


def test_waiting_outlives_a_server_that_is_away_for_a_moment(server: ScriptedServer, run: Run) -> None:
    away = (503, {"success": False, "error": "Starting.", "code": "unavailable"})
    server.on(LOOK, away, away, (200, {"data": task()}))
    assert run("tasks", "wait", "42").exit_code == 0
