"""What each Python peer's program does: the roles of one benchmark, on top of a tiny Queue.

It runs in the peer's own environment, so it uses the standard library and uvloop only. Roles:

    install DSN                 makes the schema
    single DSN TASKS CLIENTS    enqueues one at a time, so many at once
    bulk DSN TASKS BATCH        enqueues in batches, two callers at once
    pickup DSN TASKS            enqueues one at a time into an idle system
    work DSN count TASKS        works; reports the first and the last task begun
    work DSN stamp TASKS        works; reports when each task was begun
"""

from __future__ import annotations

import asyncio
import json
import random
import resource
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import uvloop

from benchmarks.payload import payload

Handle = Callable[[Mapping[str, object]], None]
PICKUP_GAP_SECONDS = (0.03, 0.06)
LISTEN_SECONDS = 1.0
BULK_CALLERS = 2


class Queue(Protocol):
    """A peer in its best documented configuration."""

    async def install(self) -> None:
        """Makes the schema in an empty database."""
        ...

    async def enqueue(self, task: dict[str, object]) -> None:
        """Adds one task; durable when it returns."""
        ...

    async def enqueue_many(self, tasks: Sequence[dict[str, object]]) -> None:
        """Adds many in the way the peer documents for many."""
        ...

    async def work(self, handle: Handle) -> None:
        """Runs one worker for ever; `handle` gets each task's payload when its handler is entered."""
        ...


Connect = Callable[[str], AbstractAsyncContextManager[Queue]]
Role = Callable[..., Coroutine[None, None, None]]


def run(connect: Connect) -> None:
    """Runs the role that the command line names."""
    role, dsn, *rest = sys.argv[1:]
    roles: dict[str, Role] = {
        "install": _install,
        "single": _single,
        "bulk": _bulk,
        "pickup": _pickup,
        "work": _work,
    }
    uvloop.run(roles[role](connect, dsn, *rest))


def report(event: str, **fields: object) -> None:
    """Writes one JSON line for the benchmark to read."""
    sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
    sys.stdout.flush()


def own_cpu_seconds() -> float:
    """Processor seconds of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def _install(connect: Connect, dsn: str) -> None:
    async with connect(dsn) as queue:
        await queue.install()
    report("done")


async def _single(connect: Connect, dsn: str, tasks: str, clients: str) -> None:
    numbers = iter(range(int(tasks)))
    async with connect(dsn) as queue:

        async def client() -> None:
            for number in numbers:
                await queue.enqueue(payload(number))

        await _timed(lambda: asyncio.gather(*(client() for _ in range(int(clients)))))


async def _bulk(connect: Connect, dsn: str, tasks: str, batch: str) -> None:
    size = int(batch)
    batches = [[payload(n) for n in range(size)] for _ in range(int(tasks) // size)]
    async with connect(dsn) as queue:
        waiting = iter(batches)

        async def caller() -> None:
            for one in waiting:
                await queue.enqueue_many(one)

        await _timed(lambda: asyncio.gather(*(caller() for _ in range(BULK_CALLERS))))


async def _timed(work: Callable[[], Awaitable[object]]) -> None:
    report("start")
    started, cpu = time.perf_counter(), own_cpu_seconds()
    await work()
    report("done", seconds=time.perf_counter() - started, cpu=own_cpu_seconds() - cpu)


async def _pickup(connect: Connect, dsn: str, tasks: str) -> None:
    gaps = random.Random(7)
    async with connect(dsn) as queue:
        for number in range(int(tasks)):
            sent = time.monotonic_ns()
            await queue.enqueue(payload(number))
            report("sent", n=number, sent_ns=sent, acked_ns=time.monotonic_ns())
            await asyncio.sleep(gaps.uniform(*PICKUP_GAP_SECONDS))
    report("done")


async def _work(connect: Connect, dsn: str, mode: str, tasks: str) -> None:
    handle = stamp if mode == "stamp" else counter(int(tasks))
    async with connect(dsn) as queue:
        working = asyncio.create_task(queue.work(handle))
        await asyncio.sleep(LISTEN_SECONDS if mode == "stamp" else 0)
        report("ready")
        await working


def stamp(task: Mapping[str, object]) -> None:
    """Reports the instant at which this task's handler was entered."""
    report("entered", n=task["n"], ns=time.monotonic_ns())


def counter(tasks: int) -> Handle:
    """A handler that reports the first and the last of so many tasks."""
    begun = 0

    def count(task: Mapping[str, object]) -> None:
        nonlocal begun
        begun += 1
        if begun == 1:
            report("first")
        if begun == tasks:
            report("last")

    return count
