"""`workstation token` and `workstation events`."""

import json
from typing import Any

import pytest
from tests.support.scripted_server import ScriptedServer
from tests.unit.cli.conftest import Run
from tests.unit.cli.samples import BORN, agent

NEW = {"token": "eyJ.abc.def", "id": "u-1", "role": "user", "expires_at": BORN}


def test_the_token_alone_is_on_stdout(server: ScriptedServer, run: Run) -> None:
    server.on("POST /api/tokens", (201, {"success": True, "data": NEW}))
    result = run("token", "create", "--role", "user", "--subject", "bob", "--expires", "30d")
    assert (result.exit_code, result.stdout) == (0, "eyJ.abc.def\n")
    expected = {"role": "user", "subject": "bob", "expires_in_seconds": 2_592_000}
    assert server.bodies("POST /api/tokens") == [expected]


def test_a_token_of_an_agent_is_bound_to_it(server: ScriptedServer, run: Run) -> None:
    server.data("GET /api/agents", {"agents": [agent(3, "ocr-1")], "total": 1})
    server.on("POST /api/tokens", (201, {"success": True, "data": NEW}))
    run("token", "create", "--role", "agent", "--agent", "ocr-1")
    assert server.bodies("POST /api/tokens") == [{"role": "agent", "agentId": "3"}]


@pytest.mark.parametrize("words", [["--role", "agent"], ["--role", "user", "--agent", "1"], ["--role", "king"], []])
def test_a_wish_that_makes_no_sense_is_a_usage_error(words: list[str], run: Run) -> None:
    assert run("token", "create", *words).exit_code == 2


def test_who_may_not_make_tokens_gets_4(server: ScriptedServer, run: Run) -> None:
    server.refuse("POST /api/tokens", 403, "A token of role user may not do this.", "forbidden")
    result = run("token", "create", "--role", "admin")
    assert (result.exit_code, result.stdout) == (4, "")


def test_a_bad_token_gets_4_and_the_way_to_a_good_one(server: ScriptedServer, run: Run) -> None:
    server.refuse("GET /api/tokens", 401, "The token has expired.", "unauthenticated")
    result = run("token", "list")
    assert result.exit_code == 4
    assert "workstation token create" in result.stderr
    assert "secret-token" not in result.output


def test_tokens_are_listed_without_their_text(server: ScriptedServer, run: Run) -> None:
    listed = {"id": "u-1", "role": "user", "subject": "bob", "created_at": BORN, "expires_at": BORN, "agent_id": None}
    server.data("GET /api/tokens", {"tokens": [listed], "next": None})
    lines = run("token", "list").stdout.splitlines()
    assert lines[1].split()[:3] == ["u-1", "user", "bob"]
    assert lines[1].split()[-1] == "expired" or lines[1].split()[-2] == "in"


def test_revoking_an_unknown_token_exits_with_5(server: ScriptedServer, run: Run) -> None:
    server.refuse("DELETE /api/tokens/u-9", 404, "There is no token u-9.", "not_found")
    assert run("token", "revoke", "u-9").exit_code == 5


def _event(number: int, **more: Any) -> dict[str, Any]:
    return {"cursor": f"7.{number}", "at": BORN, "type": "agent.started", "subject": "agent/1", "actor": "cli", **more}


def test_the_last_events_are_printed_a_line_each(server: ScriptedServer, run: Run) -> None:
    many = [{"task": "5", "type": "scrape", "agent": "1"}, {"task": "6", "type": "scrape", "agent": None}]
    found = [_event(1, data={"launch": "9"}), _event(2, type="task.created", tasks=many)]
    server.data("GET /api/events", {"events": found, "next": "7.2"})
    lines = [line.split()[1:] for line in run("events", "tail", "-n", "2").stdout.splitlines()]
    assert lines == [
        ["agent.started", "agent/1", "by", "cli", "launch=9"],
        ["task.created", "task", "5", "scrape", "agent", "1"],
        ["task.created", "task", "6", "scrape"],
    ]
    assert server.queries("GET /api/events") == [{"limit": "2"}]


def test_events_after_a_cursor_are_read_to_the_end(
    server: ScriptedServer, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workstation.cli.events.PAGE", 2)
    pages = [{"events": [_event(1), _event(2)], "next": "7.2"}, {"events": [_event(3)], "next": "7.3"}]
    server.data("GET /api/events", *pages)
    lines = run("events", "tail", "--after", "start", "--type", "agent.", "-o", "jsonl").stdout.splitlines()
    assert [json.loads(line)["cursor"] for line in lines] == ["7.1", "7.2", "7.3"]
    assert [query["cursor"] for query in server.queries("GET /api/events")] == ["start", "7.2"]


def test_following_goes_on_from_the_cursor_until_interrupted(
    server: ScriptedServer, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = iter([None, KeyboardInterrupt()])

    def sleep(_seconds: float) -> None:
        if (end := next(looks)) is not None:
            raise end

    monkeypatch.setattr("workstation.cli.events.time.sleep", sleep)
    server.data("GET /api/events", {"events": [_event(1)], "next": "7.1"}, {"events": [_event(2)], "next": "7.2"})
    result = run("events", "tail", "-f", "-o", "jsonl")
    assert result.exit_code == 130
    assert [json.loads(line)["cursor"] for line in result.stdout.splitlines()] == ["7.1", "7.2"]
    assert server.queries("GET /api/events")[1]["cursor"] == "7.1"
