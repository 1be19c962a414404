"""What a newcomer does first: start everything, have a page scraped, register an agent of their own."""

from __future__ import annotations

from typing import Any

import httpx
from tests.support.live_server import LiveServer
from tests.support.waiting import until

CUSTOM_AGENT = """
INSERT INTO agent_registry
  (name, type, container_name, status, capabilities)
VALUES
  ('my-custom-agent', 'custom', 'agent-custom-1', 'stopped',
   ARRAY['capability1', 'capability2'])
RETURNING id
"""


async def test_the_browser_agent_scrapes_the_shop(server: LiveServer, shop: str) -> None:
    client = server.client()
    selectors = {"title": "h1.product-title", "price": "span.price", "description": "div.description"}
    body = {"agentId": "1", "type": "scrape", "payload": {"url": f"{shop}/products", "selectors": selectors}}
    created = await client.post("/api/agents/tasks", json={**body, "priority": 7})
    assert created.status_code == 201, created.text
    task = await finished(client, created.json()["taskId"])
    assert (task["status"], task["agent_name"]) == ("completed", "browser-automation-agent"), task
    assert (task["result"]["title"], task["result"]["price"]) == ("Walnut Desk Lamp", "$99.99")
    assert "oiled walnut" in task["result"]["description"]


async def test_by_default_the_built_in_agents_run_and_the_overview_counts_them(server: LiveServer) -> None:
    client = server.client()

    async def all_run() -> bool:
        agents = (await client.get("/api/agents")).json()["data"]["agents"]
        wanted = [agent for agent in agents if agent["built_in"] and agent["desired_status"] == "running"]
        return bool(wanted) and all(agent["status"] == "running" for agent in wanted)

    await until(all_run, within=40, what="the start of the built-in agents")
    overview = (await client.get("/api/agents/system/overview")).json()["data"]
    assert overview["runningAgents"] >= 3 and overview["totalAgents"] >= overview["runningAgents"]
    assert overview["agentsByType"]["browser"] == 1


async def test_a_container_agent_registered_by_hand_says_at_its_start_what_is_missing(server: LiveServer) -> None:
    agent = await server.value(CUSTOM_AGENT)
    client = server.client()
    shown = (await client.get(f"/api/agents/{agent}")).json()["data"]["agent"]
    assert (shown["status"], shown["capabilities"]) == ("stopped", ["capability1", "capability2"])
    refused = await client.post(f"/api/agents/{agent}/start")
    assert (refused.status_code, refused.json()["code"]) == (502, "runtime_failed"), refused.text
    assert "agent-custom-1" in refused.json()["error"] or "container" in refused.json()["error"]
    shown = (await client.get(f"/api/agents/{agent}")).json()["data"]["agent"]
    assert shown["status"] == "error"
    assert shown["status_reason"] in refused.json()["error"]


async def finished(client: httpx.AsyncClient, task: str) -> dict[str, Any]:
    """The task, once it is final."""
    for _ in range(4):
        data: dict[str, Any] = (await client.get(f"/api/agents/tasks/{task}", params={"wait": 15})).json()["data"]
        if data["completed_at"] is not None:
            return data
    raise AssertionError(f"task {task} is not final after a minute: {data}")
