"""Claim rounds: one transaction at a time serves every session of this process that has credit and may find work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from workstation.dispatch.floor import Floor
from workstation.dispatch.session import Session
from workstation.domain.errors import Unavailable
from workstation.domain.tasks import Claim
from workstation.services import queue
from workstation.store.database import Database
from workstation.store.tasks import Look

# A session that has missed a heartbeat is not given more until it is heard again.
QUIET_SECONDS = 7.5
MOST_HEADS = 500
_PAUSE_SECONDS = 0.25
_log = structlog.get_logger(__name__)


class Claimer:
    """Runs while there is credit where there may be work; woken by nudge()."""

    def __init__(self, database: Database, floor: Floor, clock: Callable[[], float], alone: Callable[[], bool]) -> None:
        self._hot = database.hot("claim")
        self._floor = floor
        self._alone = alone
        self._clock = clock
        self._wanted = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def nudge(self) -> None:
        """There may be something to claim."""
        self._wanted.set()

    async def between_rounds(self) -> None:
        """Wait until no round is under way."""
        await self._idle.wait()

    async def run(self) -> None:
        """Claim for ever; cancel to end."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            self._idle.clear()
            try:
                while await self.claim_once():
                    self._idle.set()
                    await asyncio.sleep(0)
                    self._idle.clear()
            except Unavailable:
                await self._pause()
            except Exception:  # noqa: BLE001 - a round that fails must not end all claiming
                _log.exception("claim_failed")
                await self._pause()
            finally:
                self._idle.set()

    async def _pause(self) -> None:
        self._idle.set()
        await asyncio.sleep(_PAUSE_SECONDS)
        self._wanted.set()

    async def claim_once(self) -> bool:
        """One round; whether there may be more to claim at once."""
        marks = self._floor.marks()
        quiet_since = self._clock() - QUIET_SECONDS
        takers: dict[Session, int] = {}
        looks: list[Look] = []
        for lane in marks:
            able = [session for session in self._floor.in_lane(lane) if session.wants(quiet_since)]
            if able:
                looks.append(_look(lane, able))
                takers.update((session, session.credit) for session in able)
        if not looks:
            return False
        # The whole credit is spoken for until the round is over: nothing is handed over from the side meanwhile.
        asked = [session.taker() for session in takers]
        for session in takers:
            session.credit = 0
        try:
            round_ = await self._hot.run(lambda connection: queue.claim(connection, looks, asked, alone=self._alone()))
        except BaseException:
            for session, credit in takers.items():
                session.credit += credit
                session.doubtful = True
                self._doubt_successor(session)
            raise
        self._give(takers, round_.claims)
        for lane in round_.exhausted:
            self._floor.unmark(lane, marks[lane])
        # A round that brought nothing met a gate that closed meanwhile, or another replica: the next nudge looks again.
        return bool(round_.claims) and bool(self._floor.marks())

    def _give(self, takers: dict[Session, int], claims: list[Claim]) -> None:
        by_instance: dict[object, list[Claim]] = {}
        for claim in claims:
            by_instance.setdefault(claim.instance_id, []).append(claim)
        for session, credit in takers.items():
            given = by_instance.get(session.instance_id, [])
            session.credit += credit - len(given)
            if given:
                session.hold(given)
                session.deliver(given)
                self._doubt_successor(session)

    def _doubt_successor(self, session: Session) -> None:
        """An instance that connected again during the round may hold what its new session has not heard of."""
        now = self._floor.find(session.instance_id)
        if now is not None and now is not session:
            now.doubtful = True


def _look(lane: str, able: list[Session]) -> Look:
    wanted = min(sum(session.credit for session in able), MOST_HEADS)
    types = None
    if lane.startswith("c") and all(session.types is not None for session in able):
        types = frozenset[str]().union(*(session.types or () for session in able))
    return Look(lane, wanted, any(not session.suspects for session in able), types)
