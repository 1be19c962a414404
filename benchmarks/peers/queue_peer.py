"""A peer as a participant: runs its program's roles on a fresh database and measures them from outside."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol

from benchmarks.processes import Program, run_program, tree_memory_mb
from benchmarks.sample import Effort, Phase, Sample, Stopwatch, percentile

CLIENTS = 16
BATCH = 500
PICKUPS = 120
PICKUP_WARM_UP = 10
SETTLE_POLL_SECONDS = 0.01
STALL_SECONDS = 60.0

# Gives the command that starts the peer's program, or the reason why this machine cannot run it.
Prepare = Callable[[], Awaitable[tuple[list[str], str] | str]]


class Store(Protocol):
    """What keeps a peer's tasks: PostgreSQL, or Redis. Its processor time is the `postgres` side of a phase."""

    def cpu_seconds(self) -> float: ...

    def database(self, name: str) -> AbstractAsyncContextManager[str]: ...

    async def unfinished(self, dsn: str, question: str) -> bool: ...


@dataclass
class QueuePeer:
    """One peer. `unfinished` asks its store whether any job is not settled; sizes fill a few seconds each."""

    name: str
    note: str
    prepare_command: Prepare
    unfinished: str
    single_tasks: int
    bulk_tasks: int
    store: Store
    _command: list[str] = field(default_factory=list)
    _version: str = ""

    async def prepare(self) -> str | None:
        """Installs the peer's environment."""
        prepared = await self.prepare_command()
        if isinstance(prepared, str):
            return prepared
        self._command, self._version = prepared
        return None

    async def version(self) -> str:
        """The peer's own version."""
        return self._version

    async def measure(self, effort: Effort) -> Sample:
        """Enqueue single and bulk, drain what that made, then the latency of an idle system."""
        sample = Sample()
        single, bulk = effort.of(self.single_tasks), max(BATCH, effort.of(self.bulk_tasks) // BATCH * BATCH)
        async with self.store.database(f"bench_{self.name}") as dsn:
            await run_program(*self._command, "install", dsn)
            sample.phases["enqueue"] = await self._enqueue(dsn, "single", single, CLIENTS)
            sample.phases["bulk"] = await self._enqueue(dsn, "bulk", bulk, BATCH)
            await self._drain(dsn, single + bulk, sample)
            await self._pick_up(dsn, effort.of(PICKUPS), sample)
        return sample

    async def _enqueue(self, dsn: str, role: str, tasks: int, width: int) -> Phase:
        program = await Program.start(*self._command, role, dsn, str(tasks), str(width))
        try:
            await program.until("start", STALL_SECONDS)
            before = self.store.cpu_seconds()
            done = await program.until("done", STALL_SECONDS)
            spent = self.store.cpu_seconds() - before
        finally:
            await program.stop()
        return Phase(tasks, done["seconds"], {"postgres": spent, "submitter": done["cpu"]})

    async def _drain(self, dsn: str, tasks: int, sample: Sample) -> None:
        worker = await Program.start(*self._command, "work", dsn, "count", str(tasks))
        try:
            await worker.until("first", STALL_SECONDS)
            watch = Stopwatch({"postgres": self.store.cpu_seconds, "worker": worker.cpu_seconds})
            await worker.until("last", STALL_SECONDS)
            await self._settled(dsn)
            sample.phases["drain"] = watch.phase(tasks)
            sample.values["worker_memory_mb"] = tree_memory_mb(worker.pid)
        finally:
            await worker.stop()

    async def _settled(self, dsn: str) -> None:
        while await self.store.unfinished(dsn, self.unfinished):
            await asyncio.sleep(SETTLE_POLL_SECONDS)

    async def _pick_up(self, dsn: str, tasks: int, sample: Sample) -> None:
        tasks += PICKUP_WARM_UP
        worker = await Program.start(*self._command, "work", dsn, "stamp", str(tasks))
        try:
            await worker.until("ready", STALL_SECONDS)
            submitter = await Program.start(*self._command, "pickup", dsn, str(tasks))
            try:
                sent = [await submitter.until("sent", STALL_SECONDS) for _ in range(tasks)]
            finally:
                await submitter.stop()
            entered = [await worker.until("entered", STALL_SECONDS) for _ in range(tasks)]
        finally:
            await worker.stop()
        record_pickup(sample, sent[PICKUP_WARM_UP:], {report["n"]: report["ns"] for report in entered})


def record_pickup(sample: Sample, sent: list[dict[str, int]], entered: dict[int, int]) -> None:
    """Records the milliseconds from submission, and from its answer, to the handler's entry."""
    whole = [(entered[one["n"]] - one["sent_ns"]) / 1e6 for one in sent]
    answered = [(entered[one["n"]] - one["acked_ns"]) / 1e6 for one in sent]
    for share, label in ((0.5, "p50"), (0.95, "p95"), (0.99, "p99")):
        sample.values[f"pickup_{label}_ms"] = percentile(whole, share)
        sample.values[f"pickup_answered_{label}_ms"] = percentile(answered, share)
