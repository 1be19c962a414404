"""The janitor: folds counts, frees idempotency keys, makes tomorrow's partitions, drops what is past its time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from workstation.store import history
from workstation.store import instances as instance_store
from workstation.store import nodes as node_store
from workstation.store import tasks as task_store
from workstation.store.database import Database

BATCH = 1000


@dataclass(frozen=True, slots=True)
class Retention:
    """How long history is kept."""

    tasks: timedelta = timedelta(days=30)
    attempts: timedelta = timedelta(days=31)
    events: timedelta = timedelta(days=7)


class Janitor:
    """Keeps tables small. Every step is bounded and safe on any number of replicas."""

    def __init__(self, database: Database, retention: Retention) -> None:
        self._database = database
        self._retention = retention

    async def fold_once(self) -> int:
        """Fold count rows; more than 0 while there is a good deal left."""
        async with self._database.transaction("fold") as connection:
            return int(await task_store.fold_counts(connection, 10_000) > 1000)

    async def tidy_once(self) -> int:
        """Free keys, prune finished tasks and old instances; more than 0 while there is more of any."""
        async with self._database.transaction("tidy") as connection:
            keys = await task_store.forget_idempotency_keys(connection, BATCH)
        async with self._database.transaction("tidy") as connection:
            tasks = await task_store.prune_tasks(connection, BATCH, self._retention.tasks)
        async with self._database.transaction("tidy") as connection:
            gone = await instance_store.prune_instances(connection, BATCH)
            await node_store.prune(connection)
        return int(BATCH in (keys, tasks, gone))

    async def partition_once(self) -> int:
        """Make the partitions of the next days, and drop those past their time."""
        async with self._database.session("partition") as connection:
            await history.make_partitions(connection, days_ahead=3)
            await history.drop_partitions(connection, "task_attempts", self._retention.attempts)
            await history.drop_partitions(connection, "events", self._retention.events)
        return 0
