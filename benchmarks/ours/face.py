"""The few calls of the public API that the benchmark makes itself, outside every measured path."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx

POLL_SECONDS = 0.02
SETTLE_TIMEOUT = 120.0


class Face:
    """The API as an administrator. Every refusal raises httpx.HTTPStatusError."""

    def __init__(self, url: str, token: str) -> None:
        self._http = httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=60)

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.aclose()

    async def stop_running_agents(self) -> None:
        """Stops whatever the server started by itself, so that only the benchmark's agents run."""
        for agent in (await self._call("GET", "/api/agents"))["agents"]:
            if agent["status"] in {"running", "starting"}:
                await self._call("POST", f"/api/agents/{agent['id']}/stop")

    async def register(self, name: str) -> str:
        """Registers an agent that is started elsewhere; returns its id."""
        data = await self._call("POST", "/api/agents", {"name": name, "type": "custom"})
        return str(data["agent"]["id"])

    async def is_connected(self, agent_id: str) -> bool:
        """Whether an instance of the agent runs."""
        return bool((await self._call("GET", f"/api/agents/{agent_id}"))["agent"]["status"] == "running")

    async def settled(self, agent_id: str) -> int:
        """How many tasks of the agent are completed. Raises when any failed."""
        statistics = await self._call("GET", f"/api/agents/{agent_id}/statistics")
        if int(statistics["failed_tasks"]):
            raise RuntimeError(f"{statistics['failed_tasks']} benchmark tasks failed; the numbers would not be honest")
        return int(statistics["completed_tasks"])

    async def wait_settled(self, agent_id: str, tasks: int) -> None:
        """Returns when that many of the agent's tasks are completed in all."""
        async with asyncio.timeout(SETTLE_TIMEOUT):
            while await self.settled(agent_id) < tasks:
                await asyncio.sleep(POLL_SECONDS)

    async def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        answer = await self._http.request(method, path, json=body)
        answer.raise_for_status()
        data: dict[str, Any] = answer.json().get("data", {})
        return data
