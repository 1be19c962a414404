"""The reaper: dead instances, lost attempts, attempts past their deadline. Safe on any number of replicas."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from workstation.dispatch.dispatcher import Dispatcher
from workstation.dispatch.heartbeats import LEASE_LOST
from workstation.domain.errors import Unavailable
from workstation.domain.tasks import OutcomeKind, Report, TaskError
from workstation.services import instances
from workstation.services.queue import Accepted
from workstation.store import tasks as store
from workstation.store.database import Database

BATCH = 200
# After an outage every lease looks lapsed: agents are given this long to be heard again first.
SETTLED_AFTER_SECONDS = 6.0
_EVICTED = "The agent was stopped; come again when it is started."
_LAPSED = "The lease of this instance lapsed; come again as a new one."


class Reaper:
    """Takes back what nobody works on any more. Losses right after an outage are not charged to the task."""

    def __init__(self, database: Database, dispatcher: Dispatcher, clock: Callable[[], float]) -> None:
        self._database = database
        self._hot = database.hot("reap")
        self._dispatcher = dispatcher
        self._clock = clock
        self._contact_since: float | None = None
        # A start of ours is an outage for the agents: they need a moment to come back.
        self._outage_at: float | None = clock()
        self._looked_at = clock()

    async def reap_once(self) -> int:
        """One step; how much was reaped, 0 when there was less than a batch."""
        if self._clock() - self._looked_at > SETTLED_AFTER_SECONDS:
            # This process stood still. Agents that are connected to it could not be heard, wherever the fault was.
            self._contact_since = None
            self._outage_at = self._clock()
        try:
            if not await self._is_steady():
                return 0
            lapsed = await self._reap_lapsed()
            lost = await self._take_back_orphans()
            looked = await self._take_back_overdue()
        except Unavailable:
            self._contact_since = None
            self._outage_at = self._clock()
            raise
        finally:
            self._looked_at = self._clock()
        return int(BATCH in (lapsed, lost, looked))

    async def _is_steady(self) -> bool:
        """Whether the database has answered without a break for long enough."""
        async with self._database.session() as connection:
            await store.sweep_claims(connection, 0)
        now = self._clock()
        if self._contact_since is None:
            self._contact_since = now
        return self._outage_at is None or now - self._contact_since >= SETTLED_AFTER_SECONDS

    async def _reap_lapsed(self) -> int:
        async with self._database.session("reap") as connection:
            lapsed = await instances.reap_lapsed(connection, BATCH)
            evicted = await instances.evict_stopped(connection)
        self._dispatcher.close_instances(evicted, LEASE_LOST, _EVICTED)
        self._dispatcher.close_instances(lapsed, LEASE_LOST, _LAPSED)
        return len(lapsed)

    async def _take_back_orphans(self) -> int:
        async with self._database.session() as connection:
            orphans = await store.list_orphans(connection, BATCH)
        charged = self._losses_count()
        await self._settle(
            [
                Report(task_id, attempt, instance_id, OutcomeKind.LOST, charged=charged)
                for task_id, attempt, instance_id in orphans
            ],
            "lease_lost",
        )
        return len(orphans)

    def _losses_count(self) -> bool:
        """Whether a loss is the task's doing, or just as likely the outage's."""
        if self._outage_at is None or self._contact_since is None:
            return True
        lease = instances.LEASE.total_seconds()
        return self._clock() - self._contact_since > SETTLED_AFTER_SECONDS + lease

    async def _take_back_overdue(self) -> int:
        looked, overdue = await self._hot.run(lambda connection: store.sweep_claims(connection, BATCH), repeat=True)
        await self._settle([_timed_out(*held) for held in overdue], "timed_out")
        return looked

    async def _settle(self, reports: list[Report], reason: str) -> None:
        if not reports:
            return
        answers = await self._dispatcher.settler.report_all(reports)
        for report, answer in zip(reports, answers, strict=True):
            if isinstance(answer, Accepted):
                self._dispatcher.take_back(report.task_id, report.attempt, report.instance_id, reason)


def _timed_out(task_id: int, attempt: int, instance_id: UUID) -> Report:
    error = TaskError("The attempt ran out of time; raise timeout_ms, or make the task smaller.", type="timed_out")
    return Report(task_id, attempt, instance_id, OutcomeKind.TIMED_OUT, error=error)
