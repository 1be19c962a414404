"""The dispatch of one replica: sessions, credit, batches and hints, put together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from workstation.dispatch.batcher import Batcher
from workstation.dispatch.claimer import QUIET_SECONDS, Claimer
from workstation.dispatch.floor import Floor
from workstation.dispatch.heartbeats import REPLACED, Leases
from workstation.dispatch.roster import AgentView, Roster
from workstation.dispatch.session import Session
from workstation.dispatch.settler import Settler
from workstation.dispatch.submitter import Submitter
from workstation.dispatch.waiters import Waiters
from workstation.dispatch.wakeups import Wakeups
from workstation.domain.tasks import Report
from workstation.services import queue
from workstation.store import tasks as task_store
from workstation.store.database import Database, Row

# Further ahead than this a due time is left to the poll.
_REMEMBERED_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Chances:
    """Seconds that only go forward, and numbers in [0, 1): both have their home in server/."""

    clock: Callable[[], float]
    jitter: Callable[[], float]


class Dispatcher:
    """Tasks come in through submitter, go out to sessions through claimer, are settled through settler."""

    def __init__(self, database: Database, node_id: UUID, chances: Chances) -> None:
        self.roster = Roster(database)
        self.floor = Floor()
        self.waiters = Waiters(lambda: self.wakeups.misses_hints)
        self.wakeups = Wakeups(database, node_id, self._on_hint)
        self.claimer = Claimer(database, self.floor, chances.clock, lambda: self.wakeups.others == 0)
        self.submitter = Submitter(database, self.floor, chances.clock, self.mark)
        self.settler = Settler(database, chances.jitter, self._on_settled)
        self.leases = Leases(database, self.floor, chances.clock, node_id)
        self._database = database
        self._clock = chances.clock
        self._reads = database.hot("read")
        self._read_batch = Batcher("read", self._read)
        self.roster.on_change(self._on_agent_changed)

    async def get(self, task_id: int) -> Row | None:
        """One task row as it is now, or None; reads that come together travel together."""
        return await self._read_batch.ask(task_id)

    async def _read(self, ids: list[int]) -> Sequence[Row | None]:
        rows = await self._reads.run(lambda connection: task_store.get_tasks(connection, ids), repeat=True)
        return [rows.get(task_id) for task_id in ids]

    def join(self, session: Session) -> None:
        """Let a session in; it is given work as soon as its agent is open for it."""
        session.heard_at = self._clock()
        before = self.floor.find(session.instance_id)
        if before is not None:
            self.leave(before)
            before.close(REPLACED, "This instance has connected again.")
        agent = self.roster.find(session.agent_id)
        self.floor.add(session, agent)
        _drain_if_stopped(session, agent)
        if self.floor.is_closed():
            session.drain("restart")
        self.claimer.nudge()

    def leave(self, session: Session) -> None:
        """Take a session out; what it holds stays with its instance until the lease is over."""
        session.gone = True
        self.floor.remove(session)

    def heard(self, session: Session) -> None:
        """Something came from a session: its lease is renewed with the next round of renewals."""
        now = self._clock()
        if self.wakeups.others > 0 and now - session.heard_at > QUIET_SECONDS:
            # One of us was away. What is read now may have been sent before it went to another replica.
            session.unconfirmed = True
        session.heard_at = now

    def add_credit(self, session: Session, n: int) -> None:
        """A session has room for n more tasks."""
        session.credit += n
        if n > 0:
            self.claimer.nudge()

    def returned(self, session: Session, task_id: int, attempt: int) -> None:
        """An attempt is over for its agent, whatever becomes of it: the slot is free."""
        suspect = task_id in session.suspects
        if session.let_go(task_id, attempt):
            if suspect:
                for lane in session.lanes:
                    self.floor.mark(lane)
            if not session.pulls:
                self.add_credit(session, 1)

    def close_instances(self, instances: Iterable[UUID], code: int, reason: str) -> None:
        """Close the sessions of instances that are dead or have to go."""
        for instance_id in instances:
            session = self.floor.find(instance_id)
            if session is not None:
                session.dismiss(code, reason)

    def mark(self, lane: str, wait_seconds: float = 0.0) -> None:
        """There is work in a lane, or there will be after so many seconds."""
        if wait_seconds <= 0:
            self.floor.mark(lane)
            self.claimer.nudge()
            self.wakeups.tell("lanes", [lane])
        elif wait_seconds < _REMEMBERED_SECONDS:
            asyncio.get_running_loop().call_later(wait_seconds, self.mark, lane)

    def cancelled(self, task_id: int, attempt: int, instance_id: UUID | None) -> None:
        """A task was cancelled: tell the instance that works on it, here or through another replica."""
        self._tell_final(task_id)
        if instance_id is not None:
            self.take_back(task_id, attempt, instance_id, "cancelled")

    def take_back(self, task_id: int, attempt: int, instance_id: UUID, reason: str) -> None:
        """An attempt was ended by us: whoever works on it is told to stop, and its slot is free."""
        if not self._stop_here(task_id, attempt, instance_id, reason):
            self.wakeups.tell("stop", [f"{instance_id}/{task_id}/{attempt}/{reason}"])

    def _stop_here(self, task_id: int, attempt: int, instance_id: UUID, reason: str) -> bool:
        session = self.floor.find(instance_id)
        if session is None:
            return False
        session.cancel([(task_id, attempt)], reason)
        self.returned(session, task_id, attempt)
        return True

    def stop_giving(self) -> None:
        """Give nothing more to any session of this replica, for it goes down."""
        self.floor.close()
        self.claimer.nudge()

    async def given_out(self) -> None:
        """Wait until what was being given to sessions when giving stopped has been sent to them."""
        await self.claimer.between_rounds()
        await self.submitter.close()

    async def poll_once(self) -> None:
        """The look each second that makes every hint dispensable: changed agents, waiting counts, lanes with work."""
        await self.leases.keep_noted_health()
        await self.roster.refresh()
        await self.roster.refresh_counts()
        await self.wakeups.count_others()
        await self._look_for_work()

    async def look_once(self) -> None:
        """The look for work that stands in for hints which do not come."""
        if self.wakeups.misses_hints:
            await self._look_for_work()

    async def _look_for_work(self) -> None:
        if len(self.floor) > 0:
            async with self._database.session() as connection:
                lanes = await task_store.lanes_with_work(connection)
            for lane in lanes:
                self.floor.mark(lane)
            if lanes:
                self.claimer.nudge()

    async def close(self) -> None:
        """Answer everything that was asked so far."""
        await self.submitter.close()
        await self.settler.close()

    def _on_settled(self, report: Report, accepted: queue.Accepted) -> None:
        if accepted.status == "pending":
            if accepted.lane is not None:
                self.mark(accepted.lane, accepted.wait_seconds)
        else:
            self._tell_final(report.task_id)

    def _tell_final(self, task_id: int) -> None:
        self.waiters.tell(task_id)
        self.wakeups.tell("final", [str(task_id)])

    def _on_agent_changed(self, agent: AgentView | None, number: int) -> None:
        for session in list(self.floor.of_agent(number)):
            self.floor.place(session, agent)
            _drain_if_stopped(session, agent)
        self.claimer.nudge()

    def _on_hint(self, kind: str, names: list[str]) -> None:
        if kind == "lanes":
            for lane in names:
                self.floor.mark(lane)
            self.claimer.nudge()
        elif kind == "final":
            for name in names:
                self.waiters.tell(int(name))
        elif kind == "stop":
            for name in names:
                instance, task_id, attempt, reason = name.split("/")
                self._stop_here(int(task_id), int(attempt), UUID(instance), reason)


def _drain_if_stopped(session: Session, agent: AgentView | None) -> None:
    if (agent is None or agent.desired_status == "stopped") and not session.draining:
        session.draining = True
        session.drain("stopped")
