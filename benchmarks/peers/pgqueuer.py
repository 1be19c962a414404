"""PgQueuer: dequeues and completes in batches, on asyncpg's pool."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import asyncpg
from pgqueuer import PgQueuer
from pgqueuer.models import Job
from pgqueuer.queries import Queries

from benchmarks.peers.program import Handle, run

POOL = 20
BATCH = 500


class PgQueuerQueue:
    """The documented asyncpg set-up; finished jobs leave the queue table for the log."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pgq = PgQueuer.from_asyncpg_pool(pool)
        self._queries = Queries(self._pgq.connection)

    async def install(self) -> None:
        """Installs the tables, durable ones."""
        await self._queries.install()

    async def enqueue(self, task: dict[str, object]) -> None:
        """enqueue with one job."""
        await self._queries.enqueue("noop", json.dumps(task).encode())

    async def enqueue_many(self, tasks: Sequence[dict[str, object]]) -> None:
        """enqueue with lists."""
        payloads: list[bytes | None] = [json.dumps(task).encode() for task in tasks]
        await self._queries.enqueue(["noop"] * len(tasks), payloads, [0] * len(tasks))

    async def work(self, handle: Handle) -> None:
        """run with large batches."""

        async def noop(job: Job) -> None:
            handle(json.loads(job.payload or b"{}"))

        self._pgq.entrypoint("noop")(noop)
        await self._pgq.run(batch_size=BATCH)


@asynccontextmanager
async def connect(dsn: str) -> AsyncIterator[PgQueuerQueue]:
    """A queue on a pool of that database."""
    async with asyncpg.create_pool(dsn, min_size=POOL, max_size=POOL) as pool:
        yield PgQueuerQueue(pool)


if __name__ == "__main__":
    run(connect)
