"""Celery on Redis: acknowledged late, results kept in Redis, one worker without processes of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

from celery import Celery, Task, group

from benchmarks.peers.program import Handle, run

CLIENTS = 16
PREFETCH = 100


class CeleryQueue:
    """The broker and the results in one Redis; dsn is its address."""

    def __init__(self, dsn: str) -> None:
        self._app = Celery("bench", broker=dsn, backend=dsn)
        self._app.conf.update(
            task_acks_late=True,
            worker_prefetch_multiplier=PREFETCH,
            broker_connection_retry_on_startup=True,
            task_ignore_result=False,
            broker_pool_limit=CLIENTS,
            worker_hijack_root_logger=False,
            worker_redirect_stdouts=False,
        )
        self._handle: Handle = lambda task: None
        self._threads = ThreadPoolExecutor(CLIENTS)

        def noop(task: dict[str, object]) -> None:
            self._handle(task)

        self._noop: Task = self._app.task(name="noop")(noop)

    async def install(self) -> None:
        """Redis needs no schema."""

    async def enqueue(self, task: dict[str, object]) -> None:
        """apply_async, in a thread, because Celery blocks."""
        await asyncio.get_running_loop().run_in_executor(self._threads, self._noop.apply_async, (task,))

    async def enqueue_many(self, tasks: Sequence[dict[str, object]]) -> None:
        """A group, which is what the documentation has for many."""
        many = group(self._noop.s(task) for task in tasks)
        await asyncio.get_running_loop().run_in_executor(self._threads, many.apply_async)

    async def work(self, handle: Handle) -> None:
        """One worker with the solo pool: the fastest for tasks that do nothing."""
        self._handle = handle
        worker = self._app.Worker(pool="solo", loglevel="ERROR", quiet=True, without_gossip=True, without_mingle=True)
        await asyncio.get_running_loop().run_in_executor(self._threads, worker.start)


@asynccontextmanager
async def connect(dsn: str) -> AsyncIterator[CeleryQueue]:
    """A queue on that Redis."""
    yield CeleryQueue(dsn)


if __name__ == "__main__":
    run(connect)
