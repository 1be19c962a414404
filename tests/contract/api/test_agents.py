"""Agents over HTTP, row by row of the contract."""

import asyncio

import pytest
from tests.support.api import Api

from workstation.store.database import Database


async def test_an_agent_is_registered_listed_changed_and_removed(api: Api) -> None:
    client = await api.client("operator")
    body = {"name": "my-custom-agent", "type": "custom", "capabilities": ["capability1", "capability2"]}
    made = await client.post("/api/agents", json=body)
    assert made.status_code == 201 and made.json()["success"] is True
    agent = made.json()["data"]["agent"]
    assert agent["name"] == "my-custom-agent" and agent["capabilities"] == ["capability1", "capability2"]
    assert (agent["status"], agent["healthStatus"], agent["desired_status"]) == ("stopped", "unknown", "running")
    assert agent["lastHealthCheck"] is None and agent["containerName"] is None
    listed = (await client.get("/api/agents")).json()["data"]
    assert listed["total"] == 1 and listed["agents"][0]["id"] == agent["id"]
    changed = await client.patch(f"/api/agents/{agent['id']}", json={"maxConcurrency": 4, "region": "eu"})
    assert changed.json()["data"]["agent"]["max_concurrency"] == 4
    assert changed.json()["data"]["agent"]["region"] == "eu"
    removed = await client.delete(f"/api/agents/{agent['id']}")
    assert removed.status_code == 200 and removed.json()["success"] is True
    assert (await client.get(f"/api/agents/{agent['id']}")).status_code == 404


async def test_a_taken_name_is_a_conflict(api: Api) -> None:
    client = await api.client("operator")
    await api.agent("one")
    two = await api.agent("two")
    again = await client.post("/api/agents", json={"name": "one", "type": "custom"})
    renamed = await client.patch(f"/api/agents/{two}", json={"name": "one"})
    assert (again.status_code, renamed.status_code) == (409, 409)
    assert again.json()["code"] == renamed.json()["code"] == "conflict"


async def test_a_name_that_is_a_number_is_refused(api: Api) -> None:
    client = await api.client("operator")
    answer = await client.post("/api/agents", json={"name": "42", "type": "custom"})
    assert answer.status_code == 400 and answer.json()["details"][0]["field"] == "name"


async def test_agents_are_listed_by_what_they_are(api: Api) -> None:
    await api.agent("ocr", capabilities=["ocr"], region="eu")
    await api.agent("plain")
    client = await api.client("viewer")
    for narrowed, names in (
        ({"capability": "ocr"}, ["ocr"]),
        ({"region": "eu"}, ["ocr"]),
        ({"type": "custom"}, ["ocr", "plain"]),
        ({"status": "running"}, []),
        ({"health": "unknown"}, ["ocr", "plain"]),
    ):
        found = (await client.get("/api/agents", params=narrowed)).json()["data"]
        assert [agent["name"] for agent in found["agents"]] == names and found["total"] == len(names)
    assert (await client.get("/api/agents", params={"status": "asleep"})).status_code == 400


async def test_an_agent_comes_with_its_statistics_under_both_names(api: Api) -> None:
    agent = await api.agent()
    user = await api.client("user")
    number = (await user.post("/api/agents/tasks", json={"agentId": agent, "type": "t", "payload": {}})).json()
    await user.post(f"/api/agents/tasks/{number['taskId']}/cancel")
    await user.post("/api/agents/tasks", json={"agentId": agent, "type": "t", "payload": {}})
    data = (await user.get(f"/api/agents/{agent}")).json()["data"]
    assert data["agent"]["id"] == str(agent)
    assert data["stats"] == data["statistics"] == (await user.get(f"/api/agents/{agent}/statistics")).json()["data"]
    assert data["stats"] == {
        "total_tasks": "2",
        "completed_tasks": "0",
        "failed_tasks": "0",
        "cancelled_tasks": "1",
        "active_tasks": "1",
        "avg_execution_time_ms": None,
    }


async def test_an_agent_with_open_tasks_cannot_be_removed(api: Api) -> None:
    agent = await api.agent()
    client = await api.client("operator")
    await client.post("/api/agents/tasks", json={"agentId": agent, "type": "t", "payload": {}})
    assert (await client.delete(f"/api/agents/{agent}")).status_code == 409


async def test_health_is_reported_with_a_known_word_only(api: Api) -> None:
    agent = await api.agent()
    client = await api.client("agent", agent)
    body = {"healthStatus": "degraded", "metadata": {"cpu": "25%", "memory": "512MB", "uptime": 3600}}
    good = await client.post(f"/api/agents/{agent}/health", json=body)
    assert good.status_code == 200 and good.json()["success"] is True
    for wrong in ({"healthStatus": "unknown"}, {"healthStatus": "fine"}, {}, {"healthStatus": 1}):
        answer = await client.post(f"/api/agents/{agent}/health", json=wrong)
        assert answer.status_code == 400 and answer.json()["details"][0]["field"] == "healthStatus"
    shown = (await client.get(f"/api/agents/{agent}")).json()["data"]["agent"]
    assert shown["healthStatus"] == "degraded" and shown["health_metadata"]["cpu"] == "25%"
    assert shown["lastHealthCheck"].endswith("Z")
    nobody = await (await api.client()).post("/api/agents/999/health", json=body)
    assert nobody.status_code == 404


async def test_the_overview_has_every_documented_number(api: Api) -> None:
    agent = await api.agent()
    client = await api.client()
    await client.post("/api/agents", json={"name": "time", "type": "mcp"})
    await client.post("/api/agents/tasks", json={"agentId": agent, "type": "t", "payload": {}})
    assert (await client.get("/api/agents/system/overview")).json() == {
        "success": True,
        "data": {
            "totalAgents": 1,
            "runningAgents": 0,
            "stoppedAgents": 1,
            "healthyAgents": 0,
            "degradedAgents": 0,
            "unhealthyAgents": 0,
            "pendingTasks": 1,
            "mcpContainers": 1,
            "agentsByType": {"custom": 1, "mcp": 1},
        },
    }


async def set_status(database: Database, agent: int, status: str, reason: str = "as the test says") -> None:
    """What the supervisor would write."""
    async with database.session() as connection:
        await connection.execute(
            "update agent_registry set status = $2, status_reason = $3 where id = $1", agent, status, reason
        )


async def container(api: Api) -> int:
    """An agent that is started from here."""
    return await api.agent("contained", containerName="agent-contained-1")


async def test_start_answers_once_the_agent_really_runs(api: Api) -> None:
    agent = await container(api)
    client = await api.client("operator")
    starting = asyncio.create_task(client.post(f"/api/agents/{agent}/start"))
    await asyncio.sleep(0.2)
    assert not starting.done()
    await set_status(api.database, agent, "running")
    answer = await asyncio.wait_for(starting, 2)
    assert answer.status_code == 200
    assert answer.json() == {"success": True, "message": f"Agent {agent} started successfully"}
    stopping = asyncio.create_task(client.post(f"/api/agents/{agent}/stop"))
    await asyncio.sleep(0.2)
    await set_status(api.database, agent, "stopped")
    assert (await asyncio.wait_for(stopping, 2)).json()["message"] == f"Agent {agent} stopped successfully"


@pytest.mark.parametrize("verb", ["start", "stop", "restart"])
async def test_an_order_without_a_wait_is_accepted_at_once(api: Api, verb: str) -> None:
    agent = await container(api)
    await set_status(api.database, agent, "running" if verb == "stop" else "stopped")
    client = await api.client("operator")
    answer = await client.post(f"/api/agents/{agent}/{verb}", params={"wait": "0"})
    assert answer.status_code == 202 and answer.json()["success"] is True


async def test_a_driver_that_fails_is_a_bad_gateway_with_its_reason(api: Api) -> None:
    agent = await container(api)
    client = await api.client("operator")
    starting = asyncio.create_task(client.post(f"/api/agents/{agent}/start"))
    await asyncio.sleep(0.1)
    await set_status(api.database, agent, "error", "There is no container agent-contained-1.")
    answer = await asyncio.wait_for(starting, 2)
    assert answer.status_code == 502 and answer.json()["code"] == "runtime_failed"
    assert "There is no container agent-contained-1." in answer.json()["error"]


async def test_an_order_that_another_one_overtakes_is_a_conflict(api: Api) -> None:
    agent = await container(api)
    client = await api.client("operator")
    starting = asyncio.create_task(client.post(f"/api/agents/{agent}/start"))
    await asyncio.sleep(0.1)
    await client.post(f"/api/agents/{agent}/stop", json={"force": True}, params={"wait": "0"})
    assert (await asyncio.wait_for(starting, 2)).status_code == 409


async def test_an_agent_started_elsewhere_may_run_and_is_not_waited_for(api: Api) -> None:
    agent = await api.agent()
    client = await api.client("operator")
    assert (await client.post(f"/api/agents/{agent}/start")).status_code == 202
    stopped = await client.post(f"/api/agents/{agent}/stop")
    assert stopped.status_code == 200
    claim = await (await api.client("agent", agent)).post(f"/api/agents/{agent}/claim", json={"slots": 1})
    assert claim.status_code == 409 and claim.json()["code"] == "conflict"


async def test_why_tells_the_reason_of_the_state(api: Api) -> None:
    agent = await container(api)
    await set_status(api.database, agent, "error", "it ended with exit code 3")
    data = (await (await api.client("viewer")).get(f"/api/agents/{agent}/why")).json()["data"]
    assert data["id"] == str(agent) and data["status"] == "error"
    assert data["status_reason"] == "it ended with exit code 3" and data["launches"] == []


async def test_logs_are_the_last_lines(api: Api) -> None:
    agent = await api.agent()
    api.logs.lines[agent] = [f"line {number}" for number in range(200)]
    client = await api.client("viewer")
    assert len((await client.get(f"/api/agents/{agent}/logs")).json()["data"]["lines"]) == 100
    last = (await client.get(f"/api/agents/{agent}/logs", params={"lines": "2"})).json()["data"]["lines"]
    assert last == ["line 198", "line 199"]
    assert (await client.get("/api/agents/999/logs")).status_code == 404
    assert (await client.get(f"/api/agents/{agent}/logs", params={"lines": "0"})).status_code == 400


async def test_an_agent_inserted_by_hand_is_known_at_once(api: Api) -> None:
    async with api.database.session() as connection:
        agent = await connection.fetchval(
            "insert into agent_registry (name, type, container_name, status, capabilities) "
            "values ('my-custom-agent', 'custom', 'agent-custom-1', 'stopped', array['capability1', 'capability2']) "
            "returning id"
        )
    client = await api.client("operator")
    made = await client.post("/api/agents/tasks", json={"agentId": str(agent), "type": "t", "payload": {}})
    assert made.status_code == 201
    shown = (await client.get(f"/api/agents/{agent}")).json()["data"]["agent"]
    assert (shown["containerName"], shown["status"]) == ("agent-custom-1", "stopped")
    starting = await client.post(f"/api/agents/{agent}/start", params={"wait": "0"})
    assert starting.status_code == 202
    assert (await client.get(f"/api/agents/{agent}")).json()["data"]["agent"]["desired_status"] == "running"
