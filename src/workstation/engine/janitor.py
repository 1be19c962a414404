"""The janitor: folds counts, frees idempotency keys, makes tomorrow's partitions, drops what is past its time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, TypeVar

from workstation.store import audit as audit_store
from workstation.store import history
from workstation.store import instances as instance_store
from workstation.store import launches as launch_store
from workstation.store import nodes as node_store
from workstation.store import tasks as task_store
from workstation.store.database import Connection, Database

BATCH = 1000
# Tidying takes at most this share of the time, whatever there is to do: the queue goes first.
SHARE: Final = 0.1
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Retention:
    """How long history is kept. attempts are those of tries that did not complete their task."""

    tasks: timedelta = timedelta(days=30)
    attempts: timedelta = timedelta(days=31)
    events: timedelta = timedelta(days=7)
    instances: timedelta = timedelta(days=7)
    audit: timedelta = timedelta(days=365)


class Janitor:
    """Keeps tables small. Every step is bounded and safe on any number of replicas."""

    def __init__(self, database: Database, retention: Retention) -> None:
        self._database = database
        self._retention = retention
        # Where the next stretches begin, and before which task of this pass the first key is that is still needed.
        self._keys_after = 0
        self._keys_needed_from: int | None = None
        self._tasks_after = 0

    async def fold_once(self) -> int:
        """Fold count rows; more than 0 while there is a good deal left."""
        async with self._database.transaction("fold") as connection:
            return int(await task_store.fold_counts(connection, 10_000) > 1000)

    async def tidy_once(self) -> int:
        """One stretch of each: free keys, prune tasks, instances, launches and audit; over 0 while there is more."""
        keys = await self._free_keys()
        tasks = await self._prune_tasks()
        keep = self._retention
        instances = await self._gently(lambda c: instance_store.prune_instances(c, BATCH, keep.instances))
        launches = await self._gently(lambda c: launch_store.prune(c, BATCH, keep.instances))
        entries = await self._gently(lambda c: audit_store.prune(c, BATCH, keep.audit))
        await self._gently(node_store.prune)
        return int(keys or tasks or BATCH in (instances, launches, entries))

    async def _free_keys(self) -> bool:
        """The next pass begins where in this one the first key was still needed."""
        stretch = await self._gently(lambda c: task_store.free_keys(c, self._keys_after, BATCH))
        if self._keys_needed_from is None:
            self._keys_needed_from = stretch.settled
        if stretch.more and stretch.last is not None:
            self._keys_after = stretch.last
        elif self._keys_needed_from is not None:
            self._keys_after, self._keys_needed_from = self._keys_needed_from, None
        return stretch.more

    async def _prune_tasks(self) -> bool:
        stretch = await self._gently(
            lambda c: task_store.prune_tasks(c, self._tasks_after, BATCH, self._retention.tasks)
        )
        self._tasks_after = stretch.last if stretch.more and stretch.last is not None else 0
        return stretch.more

    async def partition_once(self) -> int:
        """Make the partitions of the next days, drop those past their time, and what is as old in the default ones."""
        async with self._database.session("partition") as connection:
            await history.make_partitions(connection, days_ahead=3)
            await history.drop_partitions(connection, "task_attempts", self._retention.attempts)
            await history.drop_partitions(connection, "events", self._retention.events)
        stray = [
            await self._gently(lambda c: history.prune_default(c, "task_attempts", BATCH, self._retention.attempts)),
            await self._gently(lambda c: history.prune_default(c, "events", BATCH, self._retention.events)),
        ]
        return int(BATCH in stray)

    async def _gently(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """One transaction, and then a rest in proportion."""
        clock = asyncio.get_running_loop().time
        began = clock()
        async with self._database.transaction("tidy") as connection:
            done = await work(connection)
        await asyncio.sleep((clock() - began) * (1 / SHARE - 1))
        return done
