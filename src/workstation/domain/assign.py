"""Which of the claimable tasks goes to which agent session: a pure decision over locked queue heads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

import msgspec

DEGRADED_WAIT = timedelta(seconds=5)


class Head(msgspec.Struct, frozen=True, gc=False):
    """A claimable task: locked, due, and the next of its lane."""

    task_id: int
    lane: str
    type: str
    rank: int
    due_for: timedelta
    suspect: bool


@dataclass(slots=True)
class Taker:
    """A session that may take tasks. credit and suspects are counted down as tasks are given to it."""

    instance_id: UUID
    agent_id: int
    lanes: frozenset[str]
    credit: int
    types: frozenset[str] | None = None
    degraded: bool = False
    holds_suspect: bool = False
    held: int = 0


@dataclass(slots=True)
class Assignment:
    """Who gets what. Lanes that had more: starved of credit, or blocked for those who have credit left."""

    given: list[tuple[Head, Taker]] = field(default_factory=list)
    starved: set[str] = field(default_factory=set)
    blocked: set[str] = field(default_factory=set)


def assign(heads: Iterable[Head], takers: Sequence[Taker]) -> Assignment:
    """Give heads to takers: best rank first, then longest due, then id; healthy before degraded, emptiest first.

    A task that was lost before runs at most one at a time on an instance, so that a task which kills its agent
    cannot take hundreds of others with it.
    """
    by_lane: dict[str, list[Taker]] = {}
    for taker in takers:
        for lane in taker.lanes:
            by_lane.setdefault(lane, []).append(taker)
    result = Assignment()
    for head in sorted(heads, key=lambda head: (-head.rank, -head.due_for, head.task_id)):
        candidates = by_lane.get(head.lane, ())
        chosen = candidates[0] if len(candidates) == 1 else _best(head, candidates)
        if chosen is None or not _may_take(chosen, head):
            has_credit = any(taker.credit > 0 for taker in candidates)
            (result.blocked if has_credit else result.starved).add(head.lane)
            continue
        chosen.credit -= 1
        chosen.held += 1
        chosen.holds_suspect = chosen.holds_suspect or head.suspect
        result.given.append((head, chosen))
    return result


def preference(degraded: bool, held: int, credit: int) -> tuple[bool, int]:
    """Who is given a task first, smallest first: healthy before degraded, then who has most room and least to do."""
    return degraded, held - credit


def _best(head: Head, candidates: Sequence[Taker]) -> Taker | None:
    able = [taker for taker in candidates if _may_take(taker, head)]
    return min(able, key=lambda taker: preference(taker.degraded, taker.held, taker.credit), default=None)


def _may_take(taker: Taker, head: Head) -> bool:
    if taker.credit <= 0 or (head.suspect and taker.holds_suspect):
        return False
    if head.lane.startswith("c"):
        if taker.types is not None and head.type not in taker.types:
            return False
        if taker.degraded and head.due_for < DEGRADED_WAIT:
            return False
    return True
