"""The client: what is asked of the server, what is repeated, and what the answers become."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from workstation_sdk import (
    AsyncClient,
    Client,
    Conflict,
    Health,
    NotAllowed,
    NotFound,
    RateLimited,
    RuntimeFailed,
    TaskRequest,
    Unauthenticated,
    Unavailable,
    Unreachable,
    ValidationFailed,
    WaitTimedOut,
    WorkstationError,
)

from .scripted_http import Reply, ScriptedServer, scripted_server


@pytest.fixture
def api() -> Iterator[ScriptedServer]:
    """A scripted server."""
    with scripted_server() as running:
        yield running


@pytest.fixture
def client(api: ScriptedServer) -> Iterator[Client]:
    """A client of the scripted server."""
    with Client(api.url, "secret") as made:
        yield made


CREATED = Reply({"success": True, "taskId": "42", "data": {"taskId": "42"}}, 201)


def task(status: str, **more: object) -> Reply:
    return Reply({"success": True, "data": {"id": "42", "type": "scrape", "status": status, **more}})


def failure(status: int, code: str, **headers: str) -> Reply:
    body = {
        "success": False,
        "error": "a sentence",
        "code": code,
        "details": [{"field": "f", "message": "m"}],
    }
    return Reply(body, status, {name.replace("_", "-"): value for name, value in headers.items()})


def test_a_task_is_submitted_with_a_token_and_a_key(api: ScriptedServer, client: Client) -> None:
    api.says(CREATED)
    at = datetime(2030, 1, 1, tzinfo=UTC)
    task_id = client.submit(
        "scrape", {"url": "u"}, agent=1, priority=8, timeout=timedelta(seconds=3), run_at=at, max_retries=0
    )
    (asked,) = api.asked
    assert task_id == "42"
    assert (asked.method, asked.path) == ("POST", "/api/agents/tasks")
    assert asked.headers["authorization"] == "Bearer secret"
    assert asked.headers["content-type"] == "application/json"
    assert asked.headers["idempotency-key"]
    assert asked.body == {
        "type": "scrape",
        "payload": {"url": "u"},
        "agent_id": "1",
        "priority": 8,
        "max_retries": 0,
        "timeout_ms": 3000,
        "run_at": "2030-01-01T00:00:00Z",
    }


def test_a_lost_answer_is_asked_for_again_with_the_same_key(api: ScriptedServer, client: Client) -> None:
    api.says(Reply(drop=True), failure(503, "unavailable", Retry_After="0"), CREATED)
    assert client.submit("scrape", capability="web") == "42"
    keys = {asked.headers["idempotency-key"] for asked in api.asked}
    assert (len(api.asked), len(keys)) == (3, 1)


def test_two_submissions_have_two_keys(api: ScriptedServer, client: Client) -> None:
    api.says(CREATED)
    client.submit("scrape", agent=1)
    client.submit("scrape", agent=1)
    assert len({asked.headers["idempotency-key"] for asked in api.asked}) == 2


def test_what_must_not_happen_twice_is_not_repeated(api: ScriptedServer, client: Client) -> None:
    api.says(failure(503, "unavailable", Retry_After="0"))
    with pytest.raises(Unavailable):
        client.redrive("42")
    assert len(api.asked) == 1


def test_a_rate_limit_is_waited_out(api: ScriptedServer, client: Client) -> None:
    api.says(failure(429, "rate_limited", Retry_After="0"), task("pending"))
    assert client.get("42").status == "pending"


def test_a_full_queue_is_told_at_once(api: ScriptedServer, client: Client) -> None:
    api.says(failure(429, "queue_full", Retry_After="7"))
    with pytest.raises(RateLimited) as caught:
        client.submit("scrape", agent=1)
    assert caught.value.retry_after == timedelta(seconds=7)
    assert len(api.asked) == 1


def test_an_agent_is_found_by_its_name(api: ScriptedServer, client: Client) -> None:
    agents = Reply({"success": True, "data": {"agents": [{"id": "7", "name": "scraper"}], "total": 1}})
    api.says(agents, CREATED)
    client.submit("scrape", agent="scraper")
    assert api.paths == ["GET /api/agents", "POST /api/agents/tasks"]
    assert api.asked[1].body["agent_id"] == "7"
    api.says(agents)
    with pytest.raises(NotFound, match="no agent is named 'nobody'"):
        client.submit("scrape", agent="nobody")


def test_many_tasks_travel_a_thousand_at_a_time(api: ScriptedServer, client: Client) -> None:
    first = Reply({"success": True, "data": {"taskIds": [str(n) for n in range(1000)]}}, 201)
    second = Reply({"success": True, "data": {"taskIds": ["1000"]}}, 201)
    api.says(first, second)
    ids = client.submit_many([TaskRequest(type="t", agent=1)] * 1001, idempotency_key="k")
    assert ids == [str(n) for n in range(1001)]
    assert [len(asked.body["tasks"]) for asked in api.asked] == [1000, 1]
    assert [asked.headers["idempotency-key"] for asked in api.asked] == ["k-0", "k-1"]


def test_waiting_polls_until_the_task_is_final(api: ScriptedServer, client: Client) -> None:
    api.says(task("running"), task("running"), task("completed", result={"title": "T"}))
    done = client.wait("42")
    assert (done.status, done.result, done.final) == ("completed", {"title": "T"}, True)
    assert api.paths == ["GET /api/agents/tasks/42?wait=25.000"] * 3


def test_waiting_ends_with_the_timeout(api: ScriptedServer, client: Client) -> None:
    api.says(task("running"))
    with pytest.raises(WaitTimedOut, match="still running"):
        client.wait("42", timeout=timedelta(seconds=0.01))


def test_watching_yields_each_change_once(api: ScriptedServer, client: Client) -> None:
    half = {"percent": 50, "message": "half"}
    api.says(
        task("pending"),
        task("running", attempt=1),
        task("running", attempt=1),
        task("running", attempt=1, progress=half),
        task("completed", attempt=1, progress=half, result=1),
    )
    seen = [(task.status, task.progress.percent if task.progress else None) for task in client.watch("42")]
    assert seen == [("pending", None), ("running", None), ("running", 50), ("completed", 50)]


def test_all_tasks_are_listed_page_after_page(api: ScriptedServer, client: Client) -> None:
    def page(number: str, next: str | None) -> Reply:
        return Reply({"success": True, "data": {"tasks": [{"id": number}], "next": next}})

    api.says(page("2", "c"), page("1", None))
    assert [task.id for task in client.list_all(status="failed", dead_letter=True)] == ["2", "1"]
    assert api.paths == [
        "GET /api/agents/tasks?status=failed&dead_letter=true&limit=200",
        "GET /api/agents/tasks?status=failed&dead_letter=true&limit=200&cursor=c",
    ]


def test_fields_the_client_does_not_know_are_ignored(api: ScriptedServer, client: Client) -> None:
    api.says(task("failed", new_field=[1], error={"message": "no", "type": "X", "more": 1}, dead_letter=True))
    failed = client.get("42")
    assert failed.error is not None
    assert (failed.error.message, failed.dead_letter) == ("no", True)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "validation_failed", ValidationFailed),
        (401, "unauthenticated", Unauthenticated),
        (403, "forbidden", NotAllowed),
        (404, "not_found", NotFound),
        (409, "lease_lost", Conflict),
        (413, "too_large", ValidationFailed),
        (422, "payload_invalid", ValidationFailed),
        (502, "runtime_failed", RuntimeFailed),
        (500, "bug", WorkstationError),
    ],
)
def test_a_refusal_is_an_error_of_its_kind(
    api: ScriptedServer, client: Client, status: int, code: str, kind: type[WorkstationError]
) -> None:
    api.says(failure(status, code))
    with pytest.raises(kind, match="a sentence") as caught:
        client.get("42")
    assert type(caught.value) is kind
    assert (caught.value.status, caught.value.code) == (status, code)
    assert [(detail.field, detail.message) for detail in caught.value.details] == [("f", "m")]


def test_an_answer_that_is_no_json_is_an_error_not_a_crash(api: ScriptedServer, client: Client) -> None:
    api.says(Reply(b"<html>", 200))
    with pytest.raises(WorkstationError, match="is this a Workstation server"):
        client.get("42")
    api.says(Reply(b"<html>", 500))
    with pytest.raises(WorkstationError, match="the server answered 500"):
        client.get("42")


def test_no_server_is_said_plainly() -> None:
    with Client("http://127.0.0.1:9", "secret") as client, pytest.raises(Unreachable, match="is it up"):
        client.call("GET", "/api/events", tries=2)


def test_any_call_can_be_made(api: ScriptedServer, client: Client) -> None:
    api.says(Reply({"success": True, "data": {"events": [1]}}))
    assert client.call("POST", "/api/events", query={"type": "task."}, body={"a": 1}) == {"events": [1]}
    (asked,) = api.asked
    assert (asked.method, asked.path, asked.body) == ("POST", "/api/events?type=task.", {"a": 1})


def test_logs_are_followed_line_by_line(api: ScriptedServer, client: Client) -> None:
    api.says(Reply(b"one\ntwo\n"))
    assert list(client.agents.follow_logs(1, lines=2)) == ["one", "two"]
    assert api.paths == ["GET /api/agents/1/logs?lines=2&follow=true"]
    api.says(failure(404, "not_found"))
    with pytest.raises(NotFound):
        list(client.agents.follow_logs(1))


def test_agents_are_read_with_their_names_on_the_wire(api: ScriptedServer, client: Client) -> None:
    record = {
        "id": "1",
        "name": "a",
        "containerName": "c",
        "healthStatus": "healthy",
        "lastHealthCheck": "2024-11-24T18:00:00Z",
        "desired_status": "running",
    }
    stats = {"total_tasks": "150", "completed_tasks": "142", "avg_execution_time_ms": 2500}
    api.says(Reply({"success": True, "data": {"agent": record, "stats": stats, "statistics": stats}}))
    detail = client.agents.show(1)
    assert (detail.agent.container_name, detail.agent.health_status) == ("c", "healthy")
    assert (detail.agent.desired_status, detail.stats.total_tasks) == ("running", 150)
    assert detail.agent.last_health_check == datetime(2024, 11, 24, 18, tzinfo=UTC)


def test_each_verb_asks_its_route(api: ScriptedServer, client: Client) -> None:
    empty: dict[str, object] = {"id": "1", "agent": {"id": "1"}, "agents": [], "attempts": [], "lines": ["l"]}
    api.says(Reply({"success": True, "message": "done", "data": empty | {"tokens": [], "token": "t"}}))
    client.cancel(1)
    client.redrive(1)
    client.explain(1)
    client.attempts(1)
    client.overview()
    client.agents.list(status="running", health="healthy")
    client.agents.register("a", "custom", capabilities=["x"])
    client.agents.update(1, {"region": "eu"})
    client.agents.start(1, wait=False)
    assert client.agents.stop(1, force=True) == "done"
    client.agents.restart(1)
    client.agents.remove(1)
    client.agents.health(1, Health("degraded", {"cpu": 1}))
    client.agents.statistics(1)
    assert client.agents.logs(1, lines=5) == ["l"]
    client.agents.why(1)
    assert client.tokens.create("agent", agent=1, expires_in=timedelta(days=1)).token == "t"
    client.tokens.list(ended=True)
    client.tokens.revoke("a/b")
    assert api.paths == [
        "POST /api/agents/tasks/1/cancel",
        "POST /api/agents/tasks/1/redrive",
        "GET /api/agents/tasks/1/explain",
        "GET /api/agents/tasks/1/attempts",
        "GET /api/agents/system/overview",
        "GET /api/agents?status=running&health=healthy",
        "POST /api/agents",
        "PATCH /api/agents/1",
        "POST /api/agents/1/start?wait=0",
        "POST /api/agents/1/stop",
        "POST /api/agents/1/restart",
        "DELETE /api/agents/1",
        "POST /api/agents/1/health",
        "GET /api/agents/1/statistics",
        "GET /api/agents/1/logs?lines=5",
        "GET /api/agents/1/why",
        "POST /api/tokens",
        "GET /api/tokens?limit=50&ended=true",
        "DELETE /api/tokens/a%2Fb",
    ]
    bodies = {asked.path: asked.body for asked in api.asked if asked.body is not None}
    assert bodies == {
        "/api/agents": {"name": "a", "type": "custom", "capabilities": ["x"]},
        "/api/agents/1": {"region": "eu"},
        "/api/agents/1/stop": {"force": True},
        "/api/agents/1/health": {"healthStatus": "degraded", "metadata": {"cpu": 1}},
        "/api/tokens": {"role": "agent", "agent_id": "1", "expires_in_seconds": 86400},
    }


async def test_the_awaited_client_does_the_same(api: ScriptedServer) -> None:
    async with AsyncClient(api.url, "secret") as client:
        api.says(Reply(drop=True), CREATED)
        assert await client.submit("scrape", agent=1) == "42"
        api.says(task("running"), task("completed", result=1))
        assert (await client.wait("42")).result == 1
        api.says(task("pending"), task("completed"))
        assert [seen.status async for seen in client.watch("42")] == ["pending", "completed"]
        api.says(Reply(b"one\ntwo\n"))
        assert [line async for line in client.agents.follow_logs(1)] == ["one", "two"]
        api.says(failure(404, "not_found"))
        with pytest.raises(NotFound):
            await client.agents.show(9)


def test_a_verb_keeps_its_name_and_text() -> None:
    with Client("http://127.0.0.1:9", "secret") as client:
        assert client.submit.__name__ == "submit"
        assert "idempotency_key" in (client.submit.__doc__ or "")
