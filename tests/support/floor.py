"""Dispatch with scripted agents: sessions that only record what they are told, over a real database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from tests.support.spine import Spine, until

from workstation.dispatch.dispatcher import Chances, Dispatcher
from workstation.dispatch.session import Session
from workstation.domain.tasks import Claim, OutcomeKind, Report, TaskError
from workstation.services.instances import Hello
from workstation.services.queue import Accepted


@dataclass
class Hands:
    """A clock that is moved by hand."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass(eq=False)
class Peer:
    """One scripted agent instance: what it was given, told to stop, and told at the end."""

    house: House
    session: Session
    delivered: list[Claim] = field(default_factory=list)
    cancelled: list[tuple[int, int, str]] = field(default_factory=list)
    closed: list[int] = field(default_factory=list)
    drained: list[str] = field(default_factory=list)

    @property
    def instance(self) -> UUID:
        return self.session.instance_id

    @property
    def numbers(self) -> list[int]:
        """The tasks it was given, in order."""
        return [claim.task_id for claim in self.delivered]

    async def credit(self) -> int:
        """Its credit, when no claim round has it in its hands."""
        await self.house.quiet()
        return self.session.credit

    async def given(self, n: int, within: float = 10) -> list[Claim]:
        """Wait until it was given so many claims."""
        await until(lambda: len(self.delivered) >= n, within)
        return self.delivered

    async def end(self, claim: Claim, kind: OutcomeKind = OutcomeKind.COMPLETED, **fields: Any) -> Accepted:
        """Report on a claim, as the gateway does: the slot comes back at once, the answer after the commit."""
        if kind is OutcomeKind.COMPLETED:
            fields.setdefault("result", "{}")
        if kind is OutcomeKind.FAILED:
            fields.setdefault("error", TaskError("no"))
        self.house.dispatcher.returned(self.session, claim.task_id, claim.attempt)
        report = Report(claim.task_id, claim.attempt, claim.instance_id, kind, **fields)
        return await self.house.dispatcher.settler.report(report)


class House:
    """One replica's dispatch. The claimer runs; polls and renewals are made by hand."""

    def __init__(self, spine: Spine, node_id: UUID) -> None:
        self.spine = spine
        self.clock = Hands()
        self.node_id = node_id
        self.dispatcher = Dispatcher(spine.database, node_id, Chances(self.clock, lambda: 0.0))

    async def connect(
        self, agent_id: int, slots: int = 10, instance: UUID | None = None, region: str | None = None, **fields: Any
    ) -> Peer:
        """An instance comes, says hello, and has all its slots free but for what it holds."""
        instance = instance or uuid4()
        held = await self.dispatcher.leases.hello(Hello(instance, agent_id, slots, region=region))
        await self.dispatcher.roster.refresh()
        peers: list[Peer] = []
        session = Session(
            instance,
            agent_id,
            slots,
            deliver=lambda claims: peers[0].delivered.extend(claims),
            cancel=lambda attempts, reason: peers[0].cancelled.extend((*key, reason) for key in attempts),
            close=lambda code, _reason: peers[0].closed.append(code),
            drain=lambda reason: peers[0].drained.append(reason),
            region=region,
            **fields,
        )
        peers.append(Peer(self, session))
        session.hold(held)
        session.credit = slots - len(held)
        self.dispatcher.join(session)
        return peers[0]

    async def quiet(self) -> None:
        """Wait until no claim round is under way and every lane was looked at."""
        for _ in range(5):
            await asyncio.sleep(0)
            await self.dispatcher.claimer.between_rounds()

    async def looked(self, *lanes: str) -> None:
        """Wait until a look has found nothing more in these lanes."""
        await until(lambda: not any(map(self.dispatcher.floor.is_marked, lanes)))
        await self.quiet()


@asynccontextmanager
async def open_house(spine: Spine, prepare: Callable[[House], None] = lambda _house: None) -> AsyncIterator[House]:
    """A replica whose claimer runs."""
    house = House(spine, uuid4())
    prepare(house)
    await house.dispatcher.roster.refresh()
    claiming = asyncio.create_task(house.dispatcher.claimer.run())
    try:
        yield house
    finally:
        await house.dispatcher.close()
        claiming.cancel()
        with suppress(asyncio.CancelledError):
            await claiming
