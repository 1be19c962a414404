"""Procrastinate: one fetch and one finish a job; concurrency 10 and a pool to match drained fastest."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import procrastinate

from benchmarks.peers.program import Handle, run

CONCURRENCY = 10
POOL = 10


class ProcrastinateQueue:
    """The documented asyncio set-up on psycopg's pool; finished jobs are kept."""

    def __init__(self, app: procrastinate.App) -> None:
        self._app = app
        self._handle: Handle | None = None
        self._task = app.task(name="noop")(self._noop)

    async def _noop(self, **task: object) -> None:
        assert self._handle is not None
        self._handle(task)

    async def install(self) -> None:
        """Applies the schema."""
        await self._app.schema_manager.apply_schema_async()

    async def enqueue(self, task: dict[str, object]) -> None:
        """defer_async."""
        await self._task.defer_async(**task)

    async def enqueue_many(self, tasks: Sequence[dict[str, object]]) -> None:
        """batch_defer_async."""
        await self._task.batch_defer_async(*tasks)

    async def work(self, handle: Handle) -> None:
        """run_worker_async."""
        self._handle = handle
        await self._app.run_worker_async(concurrency=CONCURRENCY, install_signal_handlers=False)
        await asyncio.Event().wait()


@asynccontextmanager
async def connect(dsn: str) -> AsyncIterator[ProcrastinateQueue]:
    """An opened app on that database."""
    connector = procrastinate.PsycopgConnector(conninfo=dsn, min_size=POOL, max_size=POOL)
    app = procrastinate.App(connector=connector)
    async with app.open_async():
        yield ProcrastinateQueue(app)


if __name__ == "__main__":
    # It warns that the app lives in the main module, as it does: client and worker are the same module.
    logging.getLogger("procrastinate").setLevel(logging.ERROR)
    run(connect)
