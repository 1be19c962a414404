"""Leases are renewed for whoever was heard from: one statement a second for all instances of this replica."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from uuid import UUID

from workstation.dispatch.batcher import Batcher
from workstation.dispatch.floor import Floor
from workstation.dispatch.session import Session
from workstation.domain.errors import Unavailable, ValidationFailed
from workstation.domain.tasks import Claim
from workstation.services import agents, instances
from workstation.services.queue import attempts_of, held_by
from workstation.store.agents import HealthReport
from workstation.store.database import Database, DataRefused
from workstation.store.instances import Renewed

LEASE_LOST = 4409
REPLACED = 4408
_FORGOTTEN = 60.0


class Leases:
    """Renews, shortens and ends the leases of the instances connected here; keeps what they say of their health."""

    def __init__(self, database: Database, floor: Floor, clock: Callable[[], float], node_id: UUID) -> None:
        self._database = database
        self._hot = database.hot("lease")
        self._floor = floor
        self._node_id = node_id
        self._clock = clock
        self._renewed_at = clock()
        # A renewal under way must not undo the shortening of a lease whose socket has just closed.
        self._one_at_a_time = asyncio.Lock()
        self._hellos = asyncio.Semaphore(4)
        self._noted_health: dict[int, HealthReport] = {}
        self._health = Batcher[HealthReport, bool]("health", self._report_health)
        self._attempts = Batcher[UUID, set[tuple[int, int]]]("attempts", self._list_attempts)

    async def hello(self, said: instances.Hello) -> list[Claim]:
        """Let an instance in, to this replica; what the database holds for it.

        Raises NotFound, Conflict, LeaseLost, and ValidationFailed for what cannot be stored.
        """
        try:
            # A herd of agents that comes back at once waits here, where waiting has no deadline, not for a connection.
            async with self._hellos, self._database.session("hello") as connection:
                return await instances.hello(connection, replace(said, node_id=self._node_id))
        except DataRefused as error:
            raise ValidationFailed(f"The hello cannot be stored: {error.message}.") from error

    async def renew_once(self) -> int:
        """Renew for every instance that was heard since the last time; those that are dead, or have come to another
        replica meanwhile, are closed here.
        """
        async with self._one_at_a_time:
            now = self._clock()
            heard = [session for session in self._floor if session.heard_at >= self._renewed_at]
            if heard:
                ids = [session.instance_id for session in heard]
                alive = await self._hot.run(lambda connection: instances.renew(connection, ids), repeat=True)
                for session in heard:
                    self._confirm(session, alive)
            self._renewed_at = now
        for session in [session for session in self._floor if session.pulls and now - session.heard_at > _FORGOTTEN]:
            # Nobody else would notice: there is no connection that closes.
            session.dismiss(LEASE_LOST, "Nothing was heard from this instance.")
        return 0

    def _confirm(self, session: Session, alive: Mapping[UUID, Renewed]) -> None:
        renewed = alive.get(session.instance_id)
        if renewed is None:
            session.dismiss(LEASE_LOST, "The lease of this instance lapsed; come again as a new one.")
        elif renewed.node_id == self._node_id:
            session.unconfirmed = False
            if renewed.draining and not (session.draining or session.gone or session.pulls):
                # A drain of an earlier connection was written late, and the agent has not heard of it.
                session.drain("restart")
        elif not session.pulls:
            session.dismiss(REPLACED, "This instance has connected to another replica.")

    async def renew_now(self, instance_id: UUID, agent_id: int) -> bool:
        """Renew one lease at once; whether the instance is alive, and this agent's."""
        async with self._database.session("lease") as connection:
            return await instances.renew_own(connection, instance_id, agent_id)

    async def disconnected(self, instance_id: UUID) -> None:
        """Its socket closed: it has 3 s to come back, unless it is back already."""
        async with self._one_at_a_time:
            if self._floor.find(instance_id) is None:
                await self._hot.run(lambda c: instances.disconnected(c, [instance_id], self._node_id), repeat=True)

    async def goodbye(self, instance_id: UUID, reason: str) -> None:
        """It has drained and gone."""
        async with self._database.session("goodbye") as connection:
            await instances.goodbye(connection, [instance_id], reason)

    async def draining(self, instance_ids: Sequence[UUID]) -> None:
        """These take nothing more."""
        async with self._database.session("drain") as connection:
            await instances.drain(connection, instance_ids)

    async def held_by(self, instance_id: UUID) -> list[Claim]:
        """What the database holds for an instance."""
        async with self._database.session() as connection:
            return (await held_by(connection, [instance_id]))[instance_id]

    async def attempts_of(self, instance_id: UUID) -> set[tuple[int, int]]:
        """The (task, attempt) pairs the database holds for an instance; those who ask together share a statement."""
        return await self._attempts.ask(instance_id)

    async def _list_attempts(self, instance_ids: list[UUID]) -> list[set[tuple[int, int]]]:
        async with self._database.session() as connection:
            held = await attempts_of(connection, instance_ids)
        return [held[instance_id] for instance_id in instance_ids]

    async def report_health(self, report: HealthReport) -> bool:
        """Keep what an agent says of its health; whether the agent exists. Raises ValidationFailed."""
        return await self._health.ask(report)

    def note_health(self, report: HealthReport) -> None:
        """Keep a report that is no news with the next keep_noted_health()."""
        self._noted_health[report.agent_id] = report

    async def keep_noted_health(self) -> None:
        """Keep what was noted since the last time, in one statement. Raises Unavailable, and forgets nothing."""
        noted, self._noted_health = self._noted_health, {}
        if not noted:
            return
        try:
            await self._report_health(list(noted.values()))
        except Unavailable:
            self._noted_health = {**noted, **self._noted_health}
            raise

    async def _report_health(self, reports: list[HealthReport]) -> list[bool | Exception]:
        try:
            async with self._database.session("health") as connection:
                known = await agents.report_health(connection, reports)
        except DataRefused as error:
            if len(reports) == 1:
                return [ValidationFailed(f"The report of health cannot be stored: {error.message}.")]
            return [(await self._report_health([report]))[0] for report in reports]
        return [report.agent_id in known for report in reports]
