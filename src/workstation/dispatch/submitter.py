"""Tasks come in: group commit of whole requests, and hand-off to a session that has room."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol, TypeAlias
from uuid import UUID

from workstation.dispatch.batcher import Batcher
from workstation.dispatch.claimer import QUIET_SECONDS
from workstation.dispatch.floor import Floor
from workstation.dispatch.session import Session
from workstation.domain.assign import preference
from workstation.domain.errors import Refusal, Unavailable, ValidationFailed
from workstation.domain.tasks import Claim, NewTask, Submitted
from workstation.services import queue
from workstation.store import tasks as task_store
from workstation.store.database import Connection, Database, DataRefused
from workstation.store.tasks import Taker

IDS_AT_ONCE: Final = 500
Submit: TypeAlias = Callable[
    [Connection, Sequence[queue.Unit], Sequence[int]], Awaitable[list[list[queue.Created] | Refusal]]
]


Lent: TypeAlias = dict[UUID, Session | None]
"""The session of each instance whose credit a submit has spoken for."""


class Marker(Protocol):
    """Told of lanes in which there is, or will be, work."""

    def __call__(self, lane: str, wait_seconds: float) -> None: ...


class Submitter:
    """Creates tasks. What arrives while an insert is in flight goes with the next one."""

    def __init__(self, database: Database, floor: Floor, clock: Callable[[], float], mark: Marker) -> None:
        self._hot = database.hot("submit")
        self._floor = floor
        self._clock = clock
        self._mark = mark
        self._ids: deque[int] = deque()
        self._batch = Batcher("submit", self._submit_together, lambda unit: len(unit.tasks))

    async def submit(self, tasks: Sequence[NewTask]) -> list[Submitted]:
        """Create the tasks of one request, all or none; answered after the commit. Raises Refusal."""
        unit = queue.Unit(tuple(tasks), tuple(self._take(task) for task in tasks))
        lent = {taker.instance_id: self._floor.find(taker.instance_id) for taker in unit.takers if taker is not None}
        try:
            created = await self._batch.ask(unit)
        except BaseException:
            self._give_back(unit, (), lent)
            raise
        handed = [row.handed for row in created if row.handed is not None]
        self._give_back(unit, handed, lent)
        self._hand_over(handed, lent)
        for task, row in zip(tasks, created, strict=True):
            if row.handed is None and not row.replayed:
                self._mark(lane_of(task), row.wait_seconds)
        return [Submitted(row.task_id, row.replayed) for row in created]

    async def close(self) -> None:
        """Wait until everything asked so far is answered."""
        await self._batch.close()

    def _take(self, task: NewTask) -> Taker | None:
        """A session that takes a task as it is created: only where looks have just found nothing else it might take.

        One that pulls waits for its answer no longer than its request lasts, which may be over before the commit.
        """
        lane = lane_of(task)
        if task.run_at is not None or self._floor.is_marked(lane):
            return None
        quiet_since = self._clock() - QUIET_SECONDS
        able = (
            session
            for session in self._floor.in_lane(lane)
            if session.wants(quiet_since)
            and not session.pulls
            and _suits(session, task)
            and not any(map(self._floor.is_marked, session.lanes))
        )
        best = min(able, key=lambda s: preference(s.degraded, len(s.held), s.credit), default=None)
        if best is None:
            return None
        best.credit -= 1
        return Taker(best.instance_id, best.agent_id)

    def _give_back(self, unit: queue.Unit, handed: Sequence[Claim], lent: Lent) -> None:
        spoken_for = [taker.instance_id for taker in unit.takers if taker is not None]
        for claim in handed:
            spoken_for.remove(claim.instance_id)
        for instance_id in spoken_for:
            session = self._floor.find(instance_id)
            if session is not None:
                # One that came meanwhile for the same instance has lent nothing.
                session.credit += session is lent[instance_id]
                session.doubtful = True

    def _hand_over(self, claims: Sequence[Claim], lent: Lent) -> None:
        by_instance: dict[UUID, list[Claim]] = {}
        for claim in claims:
            by_instance.setdefault(claim.instance_id, []).append(claim)
        for instance_id, own in by_instance.items():
            session = self._floor.find(instance_id)
            if session is None:
                continue
            if session is lent[instance_id]:
                session.hold(own)
                session.deliver(own)
            else:
                session.doubtful = True

    async def _submit_together(self, units: list[queue.Unit]) -> Sequence[list[queue.Created] | Exception]:
        if len(units) > 1 and not any(map(_needs_rollback, units)):
            try:
                return await self._run(queue.submit, units)
            except DataRefused:
                # One row that the database refuses must not fail the others: each request goes alone.
                return await self._submit_each(units)
        return await self._submit_each(units)

    async def _submit_each(self, units: list[queue.Unit]) -> Sequence[list[queue.Created] | Exception]:
        """One after the other; once the database is away it is not asked again for the rest."""
        answers: list[list[queue.Created] | Exception] = []
        for unit in units:
            away = bool(answers) and isinstance(answers[-1], Unavailable)
            answers.append(answers[-1] if away else await self._submit_alone(unit))
        return answers

    async def _submit_alone(self, unit: queue.Unit) -> list[queue.Created] | Exception:
        try:
            (answer,) = await self._run(queue.submit_alone if _needs_rollback(unit) else queue.submit, [unit])
        except DataRefused as error:
            return ValidationFailed(f"The database refuses this task: {error.message}.")
        except Refusal as refusal:
            return refusal
        return answer

    async def _run(self, submit: Submit, units: list[queue.Unit]) -> Sequence[list[queue.Created] | Refusal]:
        n = sum(len(unit.tasks) for unit in units)
        if len(self._ids) < n:
            self._ids.extend(await self._hot.run(lambda c: task_store.take_ids(c, max(n, IDS_AT_ONCE)), repeat=True))
        ids = [self._ids.popleft() for _ in range(n)]
        return await self._hot.run(lambda connection: submit(connection, units, ids))


def lane_of(task: NewTask) -> str:
    """The lane a new task waits in: the same rule as the generated column of agent_tasks."""
    lane = f"c{task.capability}" if task.capability is not None else f"a{task.agent_id}"
    return lane if task.region is None else f"{lane}@{task.region}"


def _suits(session: Session, task: NewTask) -> bool:
    if task.capability is None:
        return True
    return not session.degraded and (session.types is None or task.type in session.types)


def _needs_rollback(unit: queue.Unit) -> bool:
    """Whether a request could be done in part by one statement: several keys, or several agents."""
    if len(unit.tasks) == 1:
        return False
    first = unit.tasks[0].agent_id
    return any(task.idempotency_key is not None or task.agent_id != first for task in unit.tasks)
