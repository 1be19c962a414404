"""DBOS: a queue of durable workflows; each task is a workflow without steps, its result is kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from dbos import DBOS, DBOSClient, DBOSConfig
from sqlalchemy import create_engine

from benchmarks.peers.program import Handle, run

QUEUE = "noop"
POOL = 20
CONCURRENCY = 100
# The shortest that changes anything: the poll is what a task waits for.
POLL_SECONDS = 0.1


class DbosQueue:
    """The documented queue, with a client of its own for those who only enqueue."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn.replace("postgresql://", "postgresql+psycopg://", 1)
        self._client: DBOSClient | None = None

    def _config(self) -> DBOSConfig:
        return {
            "name": "bench",
            "system_database_url": self._dsn,
            "sys_db_pool_size": POOL,
            "application_version": "1",
            "executor_id": "bench",
            "log_level": "ERROR",
        }

    async def install(self) -> None:
        """Launching makes the schema; the queue is registered once."""
        DBOS(config=self._config())
        DBOS.launch()
        await DBOS.register_queue_async(QUEUE, worker_concurrency=CONCURRENCY, polling_interval_sec=POLL_SECONDS)
        DBOS.destroy()

    async def enqueue(self, task: dict[str, object]) -> None:
        """enqueue of the client."""
        await self._clients().enqueue_async({"workflow_name": "noop", "queue_name": QUEUE, "app_version": "1"}, task)

    async def enqueue_many(self, tasks: Sequence[dict[str, object]]) -> None:
        """There is no call for many; in one transaction is the fastest documented way."""
        await asyncio.to_thread(self._enqueue_many, tasks)

    def _enqueue_many(self, tasks: Sequence[dict[str, object]]) -> None:
        client = self._clients()
        with self._engine.begin() as connection:
            for task in tasks:
                client.enqueue_in_transaction(
                    connection, {"workflow_name": "noop", "queue_name": QUEUE, "app_version": "1"}, task
                )

    def _clients(self) -> DBOSClient:
        if self._client is None:
            self._client = DBOSClient(system_database_url=self._dsn, system_database_pool_size=POOL)
            self._engine = create_engine(self._dsn)
        return self._client

    async def work(self, handle: Handle) -> None:
        """One process that dequeues and runs."""

        async def noop(task: Mapping[str, object]) -> None:
            handle(task)

        DBOS(config=self._config())
        DBOS.workflow(name="noop")(noop)
        DBOS.launch()
        await DBOS.register_queue_async(QUEUE, worker_concurrency=CONCURRENCY, polling_interval_sec=POLL_SECONDS)
        await asyncio.Event().wait()


@asynccontextmanager
async def connect(dsn: str) -> AsyncIterator[DbosQueue]:
    """A queue on that database."""
    yield DbosQueue(dsn)


if __name__ == "__main__":
    run(connect)
