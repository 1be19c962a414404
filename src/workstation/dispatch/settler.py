"""Attempts end: group commit of reports and of progress, with one bad report never failing its neighbours."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from itertools import chain
from typing import Protocol, TypeAlias

from workstation.dispatch.batcher import Batcher
from workstation.domain.errors import Refusal, ValidationFailed
from workstation.domain.tasks import OutcomeKind, Progress, Report
from workstation.services import queue
from workstation.store.database import Database, DataRefused

Answer: TypeAlias = queue.Accepted | Refusal


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
        self._complete_batch = Batcher("complete", _in_groups(self._complete), len)
        self._settle_batch = Batcher("settle", _in_groups(self._settle), len)
        self._progress_batch = Batcher("progress", self._record_progress)

    async def report(self, report: Report) -> queue.Accepted:
        """Settle one attempt; answered after the commit.

        Raises LeaseLost, ValidationFailed when the result cannot be stored (the attempt has then failed), and
        Unavailable when it may be sent again.
        """
        (answer,) = await self.report_all([report])
        if isinstance(answer, Refusal):
            raise answer
        return answer

    async def report_all(self, reports: Sequence[Report]) -> list[Answer]:
        """Settle attempts of one kind, completed ones or others; one answer for each. Raises Unavailable."""
        completed = reports[0].kind is OutcomeKind.COMPLETED
        answers = await (self._complete_batch if completed else self._settle_batch).ask(reports)
        for report, answer in zip(reports, answers, strict=True):
            if isinstance(answer, queue.Accepted):
                self._told(report, answer)
        return answers

    async def progress(self, progress: Progress) -> None:
        """Record progress; raises LeaseLost."""
        await self._progress_batch.ask(progress)

    async def close(self) -> None:
        """Wait until everything asked so far is answered."""
        await self._complete_batch.close()
        await self._settle_batch.close()
        await self._progress_batch.close()

    async def _complete(self, reports: Sequence[Report]) -> list[Answer]:
        try:
            return await self._completes.run(lambda connection: queue.complete(connection, reports), repeat=True)
        except DataRefused as error:
            if len(reports) == 1:
                return [await self._refuse_result(reports[0], error)]
            return [(await self._complete([report]))[0] for report in reports]

    async def _refuse_result(self, report: Report, error: DataRefused) -> Answer:
        reason = f"The result cannot be stored: {error.message}."
        (answer,) = await self.report_all([queue.refused_result(report, reason)])
        return answer if isinstance(answer, Refusal) else ValidationFailed(reason)

    async def _settle(self, reports: Sequence[Report]) -> list[Answer]:
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


def _in_groups(
    settle: Callable[[Sequence[Report]], Awaitable[list[Answer]]],
) -> Callable[[list[Sequence[Report]]], Awaitable[list[list[Answer]]]]:
    """Settle the reports of several callers as one list, and give each caller its part of the answers."""

    async def run(groups: list[Sequence[Report]]) -> list[list[Answer]]:
        answers = iter(await settle(list(chain.from_iterable(groups))))
        return [[next(answers) for _ in group] for group in groups]

    return run
