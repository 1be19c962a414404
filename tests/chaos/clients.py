"""Clients: they carry out the plan, repeat what has no answer under the same key, and record all they are told."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from tests.chaos.plan import Submission, body_of
from tests.chaos.recorder import Recorder
from tests.chaos.world import World

GIVE_UP_SECONDS = 240.0
AT_ONCE = 40
FIRST_PAUSE_SECONDS = 0.2
# Hundreds that ask again every three seconds keep this process busy, and its slowness is taken for the server's.
LONGEST_PAUSE_SECONDS = 10.0


class Clients:
    """Everything that asks the server from outside."""

    def __init__(self, world: World, record: Recorder) -> None:
        self._world = world
        self._record = record
        headers = {"Authorization": f"Bearer {world.token}"}
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=AT_ONCE)
        self._client = httpx.AsyncClient(base_url=world.url, headers=headers, timeout=6, limits=limits)
        self._cursor = "start"
        # So many ask at once; who waits for the end of a task is not counted.
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def close(self) -> None:
        """Hang up."""
        await self._client.aclose()

    async def run(self, submissions: tuple[Submission, ...]) -> None:
        """Carry out the whole plan; returns when everything is acknowledged or given up."""
        began = time.monotonic()
        async with asyncio.TaskGroup() as all_of_them:
            for submission in submissions:
                await asyncio.sleep(began + submission.at - time.monotonic())
                all_of_them.create_task(self._carry_out(submission))

    async def _carry_out(self, submission: Submission) -> None:
        now = datetime.now(UTC)
        due = [None if t.due_in is None else (now + timedelta(seconds=t.due_in)).isoformat() for t in submission.tasks]
        bodies = [body_of(task, self._world.agents, at) for task, at in zip(submission.tasks, due, strict=True)]
        told = await asyncio.gather(*(self._submit(submission.key, bodies) for _ in range(submission.copies)))
        tasks = next((tasks for tasks in told if tasks), None)
        if tasks is None:
            return
        if submission.conflicting:
            await self._submit_another(submission.key, bodies)
        if submission.cancel_after is not None:
            await asyncio.sleep(submission.cancel_after)
            await self._change(tasks[0], "cancel")
        if submission.waits is not None:
            await self._look(tasks[-1], submission.waits)
        if submission.redrive:
            await self._redrive(tasks)

    async def _submit(self, key: str, bodies: list[dict[str, Any]]) -> list[int] | None:
        path = "/api/agents/tasks" if len(bodies) == 1 else "/api/agents/tasks/batch"
        body = bodies[0] if len(bodies) == 1 else {"tasks": bodies}
        deadline, pause = time.monotonic() + GIVE_UP_SECONDS, FIRST_PAUSE_SECONDS
        while time.monotonic() < deadline:
            answer = await self._ask("POST", path, json=body, headers={"Idempotency-Key": key})
            if answer is not None and answer.is_success:
                document = answer.json()
                ids = [document["taskId"]] if len(bodies) == 1 else document["data"]["taskIds"]
                tasks = [int(number) for number in ids]
                self._record("accepted", key=key, tasks=tasks, replayed=answer.status_code == 200)
                return tasks
            await asyncio.sleep(pause)
            # An outage leaves many who ask again, and they must not be an outage of their own.
            pause = min(pause * 1.5, LONGEST_PAUSE_SECONDS)
        self._record("gave up", key=key)
        return None

    async def _submit_another(self, key: str, bodies: list[dict[str, Any]]) -> None:
        """Another request under a key that is taken."""
        if len(bodies) > 1:
            return
        body = {**bodies[0], "payload": {**bodies[0]["payload"], "other": True}}
        answer = await self._ask("POST", "/api/agents/tasks", json=body, headers={"Idempotency-Key": key})
        if answer is not None and answer.is_success:
            self._record("accepted under a taken key", key=key, tasks=[int(answer.json()["taskId"])])

    async def _change(self, task: int, verb: str) -> bool:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            answer = await self._ask("POST", f"/api/agents/tasks/{task}/{verb}")
            if answer is not None and answer.status_code in (200, 409):
                if answer.status_code == 200:
                    self._record("changed", task=task, verb=verb)
                return answer.status_code == 200
            await asyncio.sleep(0.2)
        return False

    async def _redrive(self, tasks: list[int]) -> None:
        for task in tasks:
            if await self._look(task, 10) == "failed":
                await self._change(task, "redrive")

    async def _look(self, task: int, wait: float) -> str | None:
        """Wait for the end of a task; the status it was said to have."""
        answer = await self._ask("GET", f"/api/agents/tasks/{task}", params={"wait": wait}, timeout=wait + 10)
        if answer is None or answer.status_code != 200:
            if answer is not None and answer.status_code == 404:
                self._record("not found", task=task)
            return None
        shown = answer.json()["data"]
        self._record("seen", task=task, status=shown["status"], attempt=shown["attempt"])
        return str(shown["status"])

    async def follow_events(self) -> None:
        """Read all events by cursor, page by page, for ever."""
        while True:
            if not await self.read_events():
                await asyncio.sleep(0.3)

    async def read_events(self) -> int | None:
        """Read one page; how many events it had, None without an answer."""
        answer = await self._ask("GET", "/api/events", params={"limit": 200, "cursor": self._cursor})
        if answer is None or answer.status_code != 200:
            return None
        page = answer.json()["data"]
        if page["events"]:
            self._record("heard", events=[event["cursor"] for event in page["events"]])
        self._cursor = page["next"]
        return len(page["events"])

    async def statistics(self) -> None:
        """Record what the API counts."""
        for name, agent in self._world.agents.items():
            answer = await self._ask("GET", f"/api/agents/{agent}/statistics")
            if answer is not None and answer.status_code == 200:
                self._record("counted", agent=agent, name=name, statistics=answer.json()["data"])
        answer = await self._ask("GET", "/api/agents/system/overview")
        if answer is not None and answer.status_code == 200:
            self._record("overview", overview=answer.json()["data"])

    async def _ask(self, method: str, path: str, **more: Any) -> httpx.Response | None:
        if "wait" in more.get("params", {}):
            return await self._ask_now(method, path, **more)
        async with self._turns:
            return await self._ask_now(method, path, **more)

    async def _ask_now(self, method: str, path: str, **more: Any) -> httpx.Response | None:
        began = time.monotonic()
        try:
            answer = await self._client.request(method, path, **more)
        except httpx.TransportError as error:
            self._record("no answer", method=method, path=path, seconds=time.monotonic() - began, why=repr(error))
            return None
        text = None if answer.status_code < 400 or answer.status_code == 503 else answer.text[:300]
        self._record(
            "answered",
            method=method,
            path=path,
            waits="wait" in more.get("params", {}),
            status=answer.status_code,
            seconds=time.monotonic() - began,
            text=text,
        )
        return answer
