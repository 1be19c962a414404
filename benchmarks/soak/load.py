"""The clients of the soak: each second the same mix, so that whatever grows is not the load."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from benchmarks.payload import payload

SINGLES, BATCHES, BATCH, CANCELS, POLLS = 40, 3, 60, 3, 3
TYPES = ("quick", "quick", "quick", "flaky", "slow")


@dataclass
class Load:
    """Sends its mix once a second until it is cancelled; counts what was acknowledged."""

    http: httpx.AsyncClient
    agent_id: str
    submitted: int = 0
    cancelled: int = 0
    failures: int = 0
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    async def run(self) -> None:
        """One mix a second, by the clock."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            await asyncio.gather(
                *(self._single() for _ in range(SINGLES)), *(self._batch() for _ in range(BATCHES)),
                *(self._cancel() for _ in range(CANCELS)), *(self._wait() for _ in range(POLLS)), self._look(),
            )  # fmt: skip
            due = max(due + 1, loop.time())
            await asyncio.sleep(due - loop.time())

    def _task(self, **fields: Any) -> dict[str, Any]:
        n = next(self._numbers)
        return {"agentId": self.agent_id, "type": TYPES[n % len(TYPES)], "payload": payload(n), **fields}

    async def _send(self, path: str, body: dict[str, Any], **headers: str) -> dict[str, Any]:
        try:
            answer = await self.http.post(path, json=body, headers=headers)
            answer.raise_for_status()
        except httpx.HTTPError:
            self.failures += 1
            return {}
        data: dict[str, Any] = answer.json().get("data", {})
        return data

    async def _single(self) -> dict[str, Any]:
        task = self._task(priority=1 + self.submitted % 10)
        made = await self._send("/api/agents/tasks", task, **{"Idempotency-Key": f"soak-{task['payload']['n']}"})
        self.submitted += len(made)
        return made

    async def _batch(self) -> None:
        made = await self._send("/api/agents/tasks/batch", {"tasks": [self._task() for _ in range(BATCH)]})
        self.submitted += len(made.get("taskIds", ()))

    async def _cancel(self) -> None:
        later = (datetime.now(UTC) + timedelta(minutes=10)).isoformat()
        made = await self._send("/api/agents/tasks", self._task(run_at=later))
        if made:
            self.submitted += 1
            await self._send(f"/api/agents/tasks/{made['taskId']}/cancel", {})
            self.cancelled += 1

    async def _wait(self) -> None:
        made = await self._single()
        if made:
            await self._get(f"/api/agents/tasks/{made['taskId']}?wait=5")

    async def _look(self) -> None:
        await self._get("/api/agents/system/overview")
        await self._get("/api/agents/tasks?limit=20")

    async def _get(self, path: str) -> None:
        try:
            (await self.http.get(path)).raise_for_status()
        except httpx.HTTPError:
            self.failures += 1
