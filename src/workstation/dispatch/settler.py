"""Attempts end: group commit of reports and of progress, with one bad report never failing its neighbours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from workstation.dispatch.batcher import Batcher
from workstation.domain.errors import ValidationFailed
from workstation.domain.tasks import OutcomeKind, Progress, Report
from workstation.services import queue
from workstation.store.database import Database, DataRefused


class Told(Protocol):
    """Told what became of a report."""

    def __call__(self, report: Report, accepted: queue.Accepted) -> None: ...


class Settler:
    """Settles attempts. Reports are repeated by us when the connection breaks: settling twice changes nothing."""

    def __init__(self, database: Database, jitter: Callable[[], float], told: Told) -> None:
        self._jitter = jitter
        self._told = told
        self._completes = database.hot("complete")
        self._settles = database.hot("settle")
        self._progresses = database.hot("progress")
        self._complete_batch = Batcher("complete", self._complete)
        self._settle_batch = Batcher("settle", self._settle)
        self._progress_batch = Batcher("progress", self._record_progress)

    async def report(self, report: Report) -> queue.Accepted:
        """Settle one attempt; answered after the commit.

        Raises LeaseLost, ValidationFailed when the result cannot be stored (the attempt has then failed), and
        Unavailable when it may be sent again.
        """
        batch = self._complete_batch if report.kind is OutcomeKind.COMPLETED else self._settle_batch
        accepted = await batch.ask(report)
        self._told(report, accepted)
        return accepted

    async def progress(self, progress: Progress) -> None:
        """Record progress; raises LeaseLost."""
        await self._progress_batch.ask(progress)

    async def close(self) -> None:
        """Wait until everything asked so far is answered."""
        await self._complete_batch.close()
        await self._settle_batch.close()
        await self._progress_batch.close()

    async def _complete(self, reports: list[Report]) -> Sequence[queue.Accepted | Exception]:
        try:
            return await self._completes.run(lambda connection: queue.complete(connection, reports), repeat=True)
        except DataRefused as error:
            if len(reports) == 1:
                return [await self._refuse_result(reports[0], error)]
            return [(await self._complete([report]))[0] for report in reports]

    async def _refuse_result(self, report: Report, error: DataRefused) -> Exception:
        reason = f"The result cannot be stored: {error.message}."
        failed = queue.refused_result(report, reason)
        accepted = await self._settle_batch.ask(failed)
        self._told(failed, accepted)
        return ValidationFailed(reason)

    async def _settle(self, reports: list[Report]) -> Sequence[queue.Accepted | Exception]:
        try:
            return await self._settles.run(
                lambda connection: queue.settle(connection, reports, self._jitter), repeat=True
            )
        except DataRefused as error:
            if len(reports) == 1:
                return [ValidationFailed(f"The report cannot be stored: {error.message}.")]
            return [(await self._settle([report]))[0] for report in reports]

    async def _record_progress(self, items: list[Progress]) -> Sequence[Exception | None]:
        latest = {(item.task_id, item.attempt): item for item in items}
        try:
            answers = await self._progresses.run(
                lambda connection: queue.record_progress(connection, list(latest.values())), repeat=True
            )
        except DataRefused as error:
            if len(items) == 1:
                return [ValidationFailed(f"The progress cannot be stored: {error.message}.")]
            return [(await self._record_progress([item]))[0] for item in items]
        by_key = dict(zip(latest, answers, strict=True))
        return [by_key[(item.task_id, item.attempt)] for item in items]
