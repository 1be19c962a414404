"""The janitor: folds counts, frees idempotency keys, makes tomorrow's partitions, drops what is past its time."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Final

from workstation.domain.retention import Retention
from workstation.store import audit as audit_store
from workstation.store import history
from workstation.store import instances as instance_store
from workstation.store import launches as launch_store
from workstation.store import nodes as node_store
from workstation.store import tasks as task_store
from workstation.store.database import Database

BATCH: Final = 1000
# A database that needs longer for one round has better things to do: the rest waits for the next interval.
BUSY: Final = timedelta(seconds=1)


class Janitor:
    """Keeps tables small. Every step is bounded and safe on any number of replicas."""

    def __init__(self, database: Database, retention: Retention) -> None:
        self._database = database
        self._retention = retention

    async def fold_once(self) -> int:
        """Fold count rows; more than 0 while there is a good deal left."""
        async with self._database.transaction() as connection:
            return int(await task_store.fold_counts(connection, 10_000) > 1000)

    async def tidy_once(self) -> int:
        """Free keys and delete what is past its time, a batch of each; more than 0 while there is more of any.

        0 as well when the database is busy.
        """
        began = asyncio.get_running_loop().time()
        gone = [await self._tidy_tasks(), *await self._tidy_history(), *await self._tidy_processes()]
        took = asyncio.get_running_loop().time() - began
        return int(BATCH in gone and took < BUSY.total_seconds())

    async def _tidy_tasks(self) -> int:
        async with self._database.transaction() as connection:
            keys = await task_store.forget_idempotency_keys(connection, BATCH)
        async with self._database.transaction() as connection:
            return max(keys, await task_store.prune_tasks(connection, BATCH, self._retention.tasks))

    async def _tidy_history(self) -> tuple[int, ...]:
        keep = self._retention
        async with self._database.session() as connection:
            return (
                await history.prune_default(connection, "task_attempts", keep.attempts, BATCH),
                await history.prune_default(connection, "events", keep.events, BATCH),
                await audit_store.prune_entries(connection, keep.audit, BATCH),
            )

    async def _tidy_processes(self) -> tuple[int, ...]:
        async with self._database.session() as connection:
            await node_store.prune(connection)
            return (
                await instance_store.prune_instances(connection, BATCH, self._retention.instances),
                await launch_store.prune_launches(connection, self._retention.instances, BATCH),
            )

    async def partition_once(self) -> int:
        """Make the partitions of the next days, and drop those past their time."""
        async with self._database.session() as connection:
            await history.make_partitions(connection, days_ahead=3)
            await history.drop_partitions(connection, "task_attempts", self._retention.attempts)
            await history.drop_partitions(connection, "events", self._retention.events)
        return 0
