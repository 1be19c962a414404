"""The example clients in JavaScript do what they say, against a real server and real pages."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.live_server import LiveServer
from tests.support.node import run_node

CLIENTS = Path(__file__).parents[2] / "examples" / "clients"


async def test_a_client_creates_a_task_and_polls_until_it_is_done(server: LiveServer, shop: str) -> None:
    printed = await run_node(server, CLIENTS / "create_and_poll.mjs", f"{shop}/products")
    assert json.loads(printed.splitlines()[-1])["price"] == "$99.99"


async def test_a_client_creates_many_tasks_and_waits_for_all(server: LiveServer, shop: str) -> None:
    pages = [f"{shop}/page{number}" for number in (1, 2, 3)]
    printed = await run_node(server, CLIENTS / "batch.mjs", *pages)
    results = json.loads(printed.splitlines()[-1])
    assert [result["url"].rstrip("/") for result in results] == pages
    assert "Enamel Kettle" in results[0]["title"]


async def test_a_client_has_a_page_read_with_retries_and_a_time_limit(server: LiveServer, shop: str) -> None:
    printed = await run_node(server, CLIENTS / "retry_with_timeout.mjs", f"{shop}/page2")
    assert json.loads(printed)["status"] == 200


async def test_a_client_reports_the_health_of_its_agent(server: LiveServer) -> None:
    agent = await server.register("reported")
    printed = await run_node(server, CLIENTS / "health_reporter.mjs", str(agent), "0.1", "3")
    assert printed.splitlines() == ["reported healthy"] * 3
    shown = (await server.client().get(f"/api/agents/{agent}")).json()["data"]["agent"]
    assert shown["healthStatus"] == "healthy" and shown["lastHealthCheck"] is not None
    assert shown["health_metadata"]["failures"] == 0


async def test_a_client_shows_the_whole_system(server: LiveServer) -> None:
    printed = await run_node(server, CLIENTS / "overview.mjs")
    assert "pending tasks: 0" in printed and '"browser":1' in printed
