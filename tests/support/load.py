"""A seeded load of mixed tasks, and a record of everything the server acknowledged."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import httpx
from tests.support.live_server import LiveServer

# How often each type comes, and what it is asked with; see journalling_agent.
MIX: dict[str, tuple[int, dict[str, Any]]] = {
    "quick": (70, {}),
    "lasting": (10, {"payload": {"seconds": 1.0}}),
    "telling": (10, {}),
    "failing-once": (5, {}),
    "hopeless": (5, {}),
}
ENDS_AS = {"hopeless": "failed"}
GIVE_UP_SECONDS = 40.0


@dataclass(frozen=True)
class Answer:
    """One answer of the server: status 0 where the connection broke; seconds it took."""

    status: int
    seconds: float


@dataclass
class Record:
    """What the server acknowledged, by task, and how it answered."""

    acknowledged: dict[int, str] = field(default_factory=dict)
    keys: dict[str, int] = field(default_factory=dict)
    answers: list[Answer] = field(default_factory=list)

    def acknowledge(self, key: str, task: int, type: str) -> None:
        """A 2xx came. The same key must never stand for another task."""
        assert self.keys.setdefault(key, task) == task, f"{key} was acknowledged as {self.keys[key]} and as {task}"
        self.acknowledged[task] = type


class Load:
    """Clients that submit until they are told to stop; what has no answer is repeated with its idempotency key."""

    def __init__(
        self, server: LiveServer, agents: Sequence[int], seed: int, clients: int = 8, pause: float = 0.06
    ) -> None:
        self.record = Record()
        self._server = server
        self._agents = agents
        self._random = random.Random(seed)
        self._run = UUID(int=random.Random().getrandbits(128))
        self._clients = clients
        self._pause = pause
        self._stopped = False
        print(f"load: seed {seed}")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Record]:
        """Submit during the block; at its end everything that was sent is acknowledged."""
        client = self._server.client(timeout=10)
        submitting = [asyncio.create_task(self._submit_on(client, number)) for number in range(self._clients)]
        try:
            yield self.record
        finally:
            self._stopped = True
            await asyncio.gather(*submitting)

    async def _submit_on(self, client: httpx.AsyncClient, number: int) -> None:
        count = 0
        while not self._stopped:
            count += 1
            await self._submit(client, f"{self._run}-{number}-{count}")
            await asyncio.sleep(self._random.random() * 2 * self._pause)

    async def _submit(self, client: httpx.AsyncClient, key: str) -> None:
        (type,) = self._random.choices(list(MIX), [share for share, _ in MIX.values()])
        body = {
            "agentId": str(self._random.choice(self._agents)),
            "type": type,
            "payload": {},
            "priority": self._random.randint(1, 10),
            **MIX[type][1],
        }
        task = await submit_until_acknowledged(client, body, key, self.record)
        self.record.acknowledge(key, task, type)


async def submit_until_acknowledged(
    client: httpx.AsyncClient, body: dict[str, Any], key: str, record: Record | None = None
) -> int:
    """Submit one task, again and again with the same key until it is acknowledged; its number."""
    deadline = time.monotonic() + GIVE_UP_SECONDS
    while True:
        began = time.monotonic()
        status, task = await _submit_once(client, body, key)
        if record is not None:
            record.answers.append(Answer(status, time.monotonic() - began))
        if task is not None:
            return task
        assert time.monotonic() < deadline, f"not acknowledged within {GIVE_UP_SECONDS:.0f} s: last answer {status}"
        await asyncio.sleep(0.05)


async def _submit_once(client: httpx.AsyncClient, body: dict[str, Any], key: str) -> tuple[int, int | None]:
    try:
        answer = await client.post("/api/agents/tasks", json=body, headers={"Idempotency-Key": key})
    except httpx.TransportError:
        return 0, None
    assert answer.status_code in (200, 201, 503), f"{answer.status_code}: {answer.text}"
    return answer.status_code, int(answer.json()["taskId"]) if answer.is_success else None
