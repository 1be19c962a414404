"""Oban for Python: fetches and acknowledges in batches of what its queue limit leaves free."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from oban import Oban, worker
from oban.job import Job
from oban.schema import install
from psycopg_pool import AsyncConnectionPool  # type: ignore[import-not-found]  # in its own environment

from benchmarks.peers.program import Handle, run

POOL = 20
LIMIT = 1000
_handles: list[Handle] = []


class NoopWorker:
    """The job class; finished jobs are kept."""

    async def process(self, job: Job) -> None:
        """Tells the benchmark that it was entered."""
        _handles[0](job.args)


noop: Any = worker(queue="default")(NoopWorker)


class ObanQueue:
    """The documented asyncio set-up on psycopg's pool."""

    def __init__(self, pool: AsyncConnectionPool) -> None:
        self._pool = pool
        self._client = Oban(pool=pool, name="client")

    async def install(self) -> None:
        """Installs the tables."""
        await install(self._pool)

    async def enqueue(self, task: dict[str, object]) -> None:
        """enqueue."""
        await self._client.enqueue(noop.new(task))

    async def enqueue_many(self, tasks: Sequence[dict[str, object]]) -> None:
        """enqueue_many."""
        await self._client.enqueue_many([noop.new(task) for task in tasks])

    async def work(self, handle: Handle) -> None:
        """One queue with a high limit."""
        _handles.append(handle)
        async with Oban(pool=self._pool, queues={"default": LIMIT}):
            await asyncio.Event().wait()


@asynccontextmanager
async def connect(dsn: str) -> AsyncIterator[ObanQueue]:
    """A queue on a pool of that database."""
    async with AsyncConnectionPool(dsn, min_size=POOL, max_size=POOL, open=False) as pool:
        await pool.wait()
        yield ObanQueue(pool)


if __name__ == "__main__":
    run(connect)
