"""Every role at every route: who is let in, and whose things they see. A route that is not in the table fails."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import uuid4

import httpx
import pytest
from tests.support.api import Api

from workstation.api.openapi import codes_of
from workstation.api.routes.table import ROUTES
from workstation.api.routing import Route

HUMANS = ("admin", "operator", "user", "viewer")
ALL = (*HUMANS, "agent")
OPEN = "open"
INSTANCE = str(uuid4())

# (method, path): the roles that are let in. own: an agent for itself alone.
MATRIX: dict[tuple[str, str], tuple[str, ...]] = {
    ("GET", "/api/agents"): ALL,
    ("POST", "/api/agents"): ("admin", "operator"),
    ("GET", "/api/agents/system/overview"): HUMANS,
    ("GET", "/api/agents/:id"): (*HUMANS, "own"),
    ("PATCH", "/api/agents/:id"): ("admin", "operator"),
    ("DELETE", "/api/agents/:id"): ("admin", "operator"),
    ("POST", "/api/agents/:id/health"): ("admin", "operator", "own"),
    ("GET", "/api/agents/:id/tasks"): (*HUMANS, "own"),
    ("GET", "/api/agents/:id/statistics"): (*HUMANS, "own"),
    ("GET", "/api/agents/:id/why"): (*HUMANS, "own"),
    ("GET", "/api/agents/:id/logs"): ("admin", "operator", "viewer"),
    ("POST", "/api/agents/:id/start"): ("admin", "operator"),
    ("POST", "/api/agents/:id/stop"): ("admin", "operator"),
    ("POST", "/api/agents/:id/restart"): ("admin", "operator"),
    ("POST", "/api/agents/:id/claim"): ("admin", "own"),
    ("POST", "/api/agents/:id/heartbeat"): ("admin", "own"),
    ("POST", "/api/agents/tasks"): ("admin", "operator", "user", "agent"),
    ("POST", "/api/agents/tasks/batch"): ("admin", "operator", "user", "agent"),
    ("GET", "/api/agents/tasks"): ALL,
    ("GET", "/api/agents/tasks/:id"): ALL,
    ("GET", "/api/agents/tasks/:id/explain"): ALL,
    ("GET", "/api/agents/tasks/:id/attempts"): ALL,
    ("POST", "/api/agents/tasks/:id/cancel"): ("admin", "operator", "user", "agent"),
    ("POST", "/api/agents/tasks/:id/redrive"): ("admin", "operator", "user", "agent"),
    ("POST", "/api/agents/tasks/:id/progress"): ("admin", "agent"),
    ("POST", "/api/agents/tasks/:id/complete"): ("admin", "agent"),
    ("POST", "/api/agents/tasks/:id/fail"): ("admin", "agent"),
    ("POST", "/api/agents/tasks/:id/release"): ("admin", "agent"),
    ("GET", "/api/tokens"): ("admin",),
    ("POST", "/api/tokens"): ("admin",),
    ("DELETE", "/api/tokens/:id"): ("admin",),
    ("GET", "/api/audit"): ("admin",),
    ("GET", "/api/events"): ("admin",),
    ("GET", "/api/system/examination"): ("admin", "operator"),
    ("GET", "/health"): (OPEN,),
    ("GET", "/ready"): (OPEN,),
    ("GET", "/docs"): (OPEN,),
    ("GET", "/docs/docs.css"): (OPEN,),
    ("GET", "/docs/docs.js"): (OPEN,),
}
TASK = {"agentId": "1", "type": "t", "payload": {}}
BODIES: dict[tuple[str, str], dict[str, object]] = {
    ("POST", "/api/agents"): {"name": "another", "type": "custom"},
    ("PATCH", "/api/agents/:id"): {"region": "eu"},
    ("POST", "/api/agents/:id/health"): {"healthStatus": "healthy"},
    ("POST", "/api/agents/:id/claim"): {"slots": 1},
    ("POST", "/api/agents/:id/heartbeat"): {"instance": INSTANCE},
    ("POST", "/api/agents/tasks"): TASK,
    ("POST", "/api/agents/tasks/batch"): {"tasks": [TASK]},
    ("POST", "/api/agents/tasks/:id/progress"): {"instance": INSTANCE, "attempt": 1},
    ("POST", "/api/agents/tasks/:id/complete"): {"instance": INSTANCE, "attempt": 1, "result": 1},
    ("POST", "/api/agents/tasks/:id/fail"): {"instance": INSTANCE, "attempt": 1, "error": {"message": "x"}},
    ("POST", "/api/agents/tasks/:id/release"): {"instance": INSTANCE, "attempt": 1},
    ("POST", "/api/tokens"): {"role": "user"},
}


def test_every_route_is_in_the_matrix() -> None:
    assert {(route.method, route.path) for route in ROUTES} == set(MATRIX)


def test_a_route_without_a_rule_cannot_be_made() -> None:
    with pytest.raises(TypeError, match="has no rule"):
        Route("GET", "/x", ROUTES[0].handler, None, "x", "x", {200: "text/plain"})  # type: ignore[arg-type]


async def ask(client: httpx.AsyncClient, method: str, path: str, number: object) -> httpx.Response:
    """The route with this number in its path, and a body that fits."""
    url = path.replace(":id", str(number))
    parameters = {"wait": "0"} if path.endswith(("/start", "/stop", "/restart")) else None
    return await client.request(method, url, json=BODIES.get((method, path)), params=parameters)


@pytest.mark.parametrize(("method", "path"), MATRIX)
async def test_a_route_lets_in_whom_the_matrix_says(api: Api, method: str, path: str) -> None:
    agent = await api.agent("one")
    other = await api.agent("two")
    admin = await api.client()
    await admin.post("/api/agents/tasks", json=TASK)
    allowed = MATRIX[method, path]
    route = next(route for route in ROUTES if (route.method, route.path) == (method, path))
    for role in ALL:
        client = await api.client(role, agent if role == "agent" else None)
        answer = await ask(client, method, path, uuid4() if route.tag == "tokens" else agent)
        let_in = OPEN in allowed or role in allowed or (role == "agent" and "own" in allowed)
        assert (answer.status_code != 403) == let_in, (role, answer.text)
        documented = {*route.answers, *(api_status(code) for code in codes_of(route))}
        assert answer.status_code in documented, (role, answer.text)
        if not let_in:
            assert answer.json()["code"] == "forbidden"
    if "own" in allowed:
        stranger = await ask(await api.client("agent", other), method, path, agent)
        assert stranger.status_code == 403


def api_status(code: str) -> int:
    """The status of a code."""
    from workstation.api.errors import STATUS_OF

    return STATUS_OF[code]


@dataclass
class Cast:
    """Everybody who may or may not see alice's task, by who they are."""

    number: str
    clients: dict[str, httpx.AsyncClient]


@pytest.fixture
async def cast(api: Api) -> Cast:
    """A task of alice's on agent 1, claimed by nobody."""
    agent, other = await api.agent("one"), await api.agent("two")
    clients = {
        "alice": await api.client("user", subject="alice"),
        "bob": await api.client("user", subject="bob"),
        "alice as viewer": await api.client("viewer", subject="alice"),
        "viewer": await api.client("viewer"),
        "operator": await api.client("operator"),
        "admin": await api.client("admin"),
        "its agent": await api.client("agent", agent),
        "another agent": await api.client("agent", other),
    }
    answer = await clients["alice"].post("/api/agents/tasks", json=TASK)
    return Cast(answer.json()["taskId"], clients)


SEES = {"alice", "alice as viewer", "viewer", "operator", "admin"}


async def test_a_task_is_seen_by_its_creator_and_those_who_see_everything(cast: Cast) -> None:
    for name, client in cast.clients.items():
        for look in ("", "/explain", "/attempts"):
            answer = await client.get(f"/api/agents/tasks/{cast.number}{look}")
            assert answer.status_code == (200 if name in SEES else 404), (name, look)
        listed = (await client.get("/api/agents/tasks")).json()["data"]["tasks"]
        assert bool(listed) == (name in SEES), name


async def test_what_others_may_not_see_cannot_be_told_from_what_is_not_there(cast: Cast) -> None:
    bob = cast.clients["bob"]
    hidden = (await bob.get(f"/api/agents/tasks/{cast.number}")).json()
    missing = (await bob.get("/api/agents/tasks/999")).json()
    assert {**hidden, "error": hidden["error"].replace(cast.number, "999")} == missing


@pytest.mark.parametrize("verb", ["cancel", "redrive"])
async def test_a_task_is_changed_by_its_creator_and_by_operators_only(cast: Cast, verb: str) -> None:
    expected = {"bob": 404, "alice as viewer": 403, "viewer": 403, "its agent": 404, "another agent": 404}
    for name, client in cast.clients.items():
        if name in expected:
            answer = await client.post(f"/api/agents/tasks/{cast.number}/{verb}")
            assert answer.status_code == expected[name], name
    task = (await cast.clients["alice"].get(f"/api/agents/tasks/{cast.number}")).json()["data"]
    assert task["status"] == "pending"
    answer = await cast.clients["operator"].post(f"/api/agents/tasks/{cast.number}/{verb}")
    assert answer.status_code == (200 if verb == "cancel" else 409)


async def test_the_tasks_of_an_agent_are_counted_as_far_as_they_are_seen(cast: Cast) -> None:
    for name, total in (("alice", 1), ("bob", 0), ("viewer", 1), ("its agent", 0)):
        data = (await cast.clients[name].get("/api/agents/1/tasks")).json()["data"]
        assert (data["total"], len(data["tasks"])) == (total, total), name


async def test_how_an_agent_is_run_is_shown_to_those_who_see_the_fleet(api: Api) -> None:
    agent = await api.agent("started-here", run={"command": ["python", "-m", "agent"]})
    for role, shown in (("admin", True), ("operator", True), ("viewer", True), ("user", False), ("agent", False)):
        client = await api.client(role, agent if role == "agent" else None)
        data = (await client.get(f"/api/agents/{agent}")).json()["data"]["agent"]
        assert ("run" in data) == shown, role


async def test_an_agent_finds_itself_in_the_list_and_nobody_else(api: Api) -> None:
    agent = await api.agent("one")
    await api.agent("two")
    data = (await (await api.client("agent", agent)).get("/api/agents")).json()["data"]
    assert [found["name"] for found in data["agents"]] == ["one"] and data["total"] == 1


async def test_verbs_of_operators_and_refused_verbs_are_in_the_audit_log(api: Api) -> None:
    agent = await api.agent()
    operator = await api.client("operator", subject="olga")
    user = await api.client("user", subject="ursula")
    await operator.post(f"/api/agents/{agent}/stop", params={"wait": "0"})
    await user.post(f"/api/agents/{agent}/start", headers={"X-Request-Id": "ursulas-request"})
    await user.get("/api/audit")
    await user.post("/api/agents/tasks", json={**TASK, "agentId": str(agent)})
    await api.audit.flush()
    admin = await api.client()
    entries = (await admin.get("/api/audit")).json()["data"]["entries"]
    seen = [(e["actor"], e["role"], e["action"], e["object"], e["status"]) for e in entries]
    assert seen[0] == ("ursula", "user", "agent.start", f"/api/agents/{agent}/start", 403)
    assert entries[0]["request_id"] == "ursulas-request"
    assert seen[1][:4] == ("olga", "operator", "agent.stop", f"/api/agents/{agent}/stop")
    assert [entry[2] for entry in seen[2:]] == ["agent.register"]
    only = (await admin.get("/api/audit", params={"actor": "olga", "limit": "1"})).json()["data"]
    assert [entry["actor"] for entry in only["entries"]] == ["olga"] and only["next"] is None
    pages = (await admin.get("/api/audit", params={"limit": "1"})).json()["data"]
    following = (await admin.get("/api/audit", params={"limit": "1", "cursor": pages["next"]})).json()["data"]
    assert following["entries"][0]["actor"] == "olga"


async def test_events_are_read_forward_by_cursor(api: Api) -> None:
    agent = await api.agent("eventful")
    user = await api.client("user", subject="uma")
    number = (await user.post("/api/agents/tasks", json={**TASK, "agentId": str(agent)})).json()["taskId"]
    await user.post(f"/api/agents/tasks/{number}/cancel")
    admin = await api.client()
    seen = []
    cursor = "start"
    while page := (await admin.get("/api/events", params={"cursor": cursor, "limit": "2"})).json()["data"]["events"]:
        seen += page
        cursor = page[-1]["cursor"]
    assert [e["type"] for e in seen if e["type"].startswith("task.")] == ["task.created", "task.cancelled"]
    cancelled = (
        seen[-1] if seen[-1]["type"] == "task.cancelled" else next(e for e in seen if e["type"] == "task.cancelled")
    )
    assert cancelled["tasks"][0]["task"] == number and cancelled["tasks"][0]["owner"] == "uma"
    only = (await admin.get("/api/events", params={"type": "agent.", "cursor": "start"})).json()["data"]
    assert {event["type"] for event in only["events"]} == {"agent.registered"}
    newest = (await admin.get("/api/events", params={"limit": "1"})).json()["data"]
    assert len(newest["events"]) == 1 and newest["next"] == newest["events"][0]["cursor"]
    for wrong in ("x", "1", "99999999999999999999.1"):
        assert (await admin.get("/api/events", params={"cursor": wrong})).status_code == 400
