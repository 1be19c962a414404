"""Agents that cannot hold a socket: claim by long poll, heartbeat by POST, under the same leases and credit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import UUID, uuid4

from workstation.dispatch.dispatcher import Dispatcher
from workstation.dispatch.session import Session
from workstation.domain.errors import Conflict, LeaseLost, NotFound, Unavailable
from workstation.domain.tasks import Claim
from workstation.services.instances import Hello

Attempt = tuple[int, int]


@dataclass(eq=False)
class _Pulled:
    """One pulling instance: its session, what it is to stop, what came for the request under way.

    unanswered is what came for a request that broke off.
    """

    session: Session
    arrived: list[Claim] = field(default_factory=list)
    something: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: set[int] = field(default_factory=set)
    unanswered: set[Attempt] = field(default_factory=set)


@dataclass(eq=False)
class _Turns:
    """The requests of one instance, one at a time. What one is answered cannot be listed by those waiting behind it."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    unaware: list[set[Attempt]] = field(default_factory=list)


class PullSessions:
    """The pulling instances of this replica. One that moves between replicas is healed by what it says it holds."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._pulled: dict[UUID, _Pulled] = {}
        self._turns: dict[UUID, _Turns] = {}

    async def claim(
        self,
        agent_id: int,
        instance_id: UUID | None,
        slots: int,
        wait_seconds: float,
        holding: Sequence[Attempt] | None,
    ) -> tuple[UUID, list[Claim]]:
        """Up to so many claims, waiting for the first; what the instance holds and holding lacks comes again first.

        Raises NotFound, Conflict for a stopped agent, LeaseLost for a dead instance, Unavailable while this server goes
        down.
        """
        if self._dispatcher.floor.is_closed():
            raise Unavailable("The server is going down; ask another one, or again a little later.")
        await self._require_open(agent_id)
        instance_id = instance_id or uuid4()
        async with self._turn(instance_id) as (turns, answered_meanwhile):
            held = await self._dispatcher.leases.hello(Hello(instance_id, agent_id, slots))
            await self._dispatcher.roster.refresh()
            pulled = self._find_or_make(instance_id, agent_id, slots)
            # The agent is open: whatever made it drain is over.
            pulled.session.draining = False
            pulled.session.hold_only(held)
            listed = None if holding is None else {*holding, *answered_meanwhile}
            claims = _lost(held, pulled.unanswered, listed) or await self._ask(pulled, slots, wait_seconds)
            pulled.unanswered.clear()
            for unaware in turns.unaware:
                unaware.update(map(_key, claims))
            return instance_id, claims

    @asynccontextmanager
    async def _turn(self, instance_id: UUID) -> AsyncIterator[tuple[_Turns, set[Attempt]]]:
        """Wait for the requests before this one; the set is what those were answered."""
        turns = self._turns.setdefault(instance_id, _Turns())
        meanwhile: set[Attempt] = set()
        turns.unaware.append(meanwhile)
        try:
            async with turns.lock:
                yield turns, meanwhile
        finally:
            turns.unaware = [other for other in turns.unaware if other is not meanwhile]
            if not turns.unaware:
                del self._turns[instance_id]

    async def heartbeat(self, agent_id: int, instance_id: UUID, holding: Sequence[Attempt] | None) -> list[int]:
        """Renew everything the instance holds; the tasks it is to stop working on. Raises LeaseLost, NotFound."""
        if not await self._dispatcher.leases.renew_now(instance_id, agent_id):
            if (known := self._pulled.get(instance_id)) is not None and known.session.agent_id == agent_id:
                self._forget(instance_id)
            raise LeaseLost("This instance is dead or another agent's: claim as a new instance.")
        session = self._dispatcher.floor.find(instance_id)
        stop = set[int]()
        if session is None or session.pulls:
            pulled = self._find_or_make(instance_id, agent_id, 0)
            session = pulled.session
            stop, pulled.cancelled = pulled.cancelled, stop
        self._dispatcher.heard(session)
        if holding:
            held = {task_id for task_id, _ in await self._dispatcher.leases.attempts_of(instance_id)}
            stop |= {task_id for task_id, _ in holding} - held
        return sorted(stop)

    def heard(self, instance_id: UUID) -> None:
        """A report came from an instance: it is alive."""
        pulled = self._pulled.get(instance_id)
        if pulled is not None:
            self._dispatcher.heard(pulled.session)

    def returned(self, instance_id: UUID, task_id: int, attempt: int) -> None:
        """An instance is done with an attempt."""
        pulled = self._pulled.get(instance_id)
        if pulled is not None:
            self._dispatcher.returned(pulled.session, task_id, attempt)

    async def _require_open(self, agent_id: int) -> None:
        agent = self._dispatcher.roster.find(agent_id)
        if agent is None or agent.desired_status != "running":
            await self._dispatcher.roster.refresh()
            agent = self._dispatcher.roster.find(agent_id)
        if agent is None:
            raise NotFound(f"There is no agent {agent_id}; register it first.")
        if agent.desired_status != "running":
            raise Conflict(f"Agent {agent.name} is stopped; start it before it may work.")

    async def _ask(self, pulled: _Pulled, slots: int, wait_seconds: float) -> list[Claim]:
        session = pulled.session
        pulled.arrived.clear()
        pulled.something.clear()
        self._dispatcher.heard(session)
        # It has just said hello here.
        session.unconfirmed = False
        self._dispatcher.add_credit(session, slots - session.credit)
        try:
            async with asyncio.timeout(wait_seconds):
                await self._first_claim(pulled)
        except TimeoutError:
            pass
        finally:
            session.credit = 0
            # A round under way has this credit in its hands: what it gives is still for this request.
            await self._dispatcher.claimer.between_rounds()
            session.credit = 0
        return list(pulled.arrived)

    async def _first_claim(self, pulled: _Pulled) -> None:
        """Wait for something; an open long poll counts as being heard."""
        while not pulled.something.is_set():
            try:
                async with asyncio.timeout(1):
                    await pulled.something.wait()
            except TimeoutError:
                self._dispatcher.heard(pulled.session)

    def _find_or_make(self, instance_id: UUID, agent_id: int, slots: int) -> _Pulled:
        known = self._pulled.get(instance_id)
        if known is not None and not known.session.gone:
            return known
        session = Session(
            instance_id,
            agent_id,
            slots,
            deliver=lambda claims: self._arrived(instance_id, claims),
            cancel=lambda attempts, _reason: self._cancelled(instance_id, attempts),
            close=lambda _code, _reason: self._forget(instance_id),
            drain=lambda _reason: self._woken(instance_id),
            pulls=True,
        )
        pulled = self._pulled[instance_id] = _Pulled(session)
        self._dispatcher.join(session)
        return pulled

    def _arrived(self, instance_id: UUID, claims: list[Claim]) -> None:
        pulled = self._pulled.get(instance_id)
        if pulled is not None:
            pulled.arrived.extend(claims)
            pulled.unanswered.update(map(_key, claims))
            pulled.cancelled.difference_update(claim.task_id for claim in claims)
            pulled.something.set()

    def _woken(self, instance_id: UUID) -> None:
        """Nothing more is given to it: a request that waits is answered now."""
        pulled = self._pulled.get(instance_id)
        if pulled is not None:
            pulled.something.set()

    def _cancelled(self, instance_id: UUID, attempts: list[Attempt]) -> None:
        pulled = self._pulled.get(instance_id)
        if pulled is not None:
            pulled.cancelled.update(task_id for task_id, _ in attempts)

    def _forget(self, instance_id: UUID) -> None:
        pulled = self._pulled.pop(instance_id, None)
        if pulled is not None:
            self._dispatcher.leave(pulled.session)


def _key(claim: Claim) -> Attempt:
    return claim.task_id, claim.attempt


def _lost(held: Sequence[Claim], unanswered: set[Attempt], listed: set[Attempt] | None) -> list[Claim]:
    """What is held and never reached the agent: given to a request that broke off, or missing in what it lists."""
    return [claim for claim in held if _key(claim) in unanswered or (listed is not None and _key(claim) not in listed)]
