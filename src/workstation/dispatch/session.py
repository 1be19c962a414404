"""One connected agent instance as dispatch sees it: what it can take, what it holds, when it was heard."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from uuid import UUID

from workstation.domain.assign import Taker
from workstation.domain.tasks import Claim


@dataclass(slots=True, eq=False)
class Session:
    """Credit is how many tasks it asked for beyond those it holds. deliver sends claims; cancel tells it to stop some.

    held maps a task to the attempt that this side knows the instance to hold; settling are reports under way.
    pulls: it asks by HTTP, so that its credit lasts only as long as its request. unconfirmed: it was silent for so long
    that it may have gone to another replica; it is given nothing until its lease was renewed here.
    """

    instance_id: UUID
    agent_id: int
    slots: int
    deliver: Callable[[list[Claim]], None]
    cancel: Callable[[list[tuple[int, int]], str], None]
    close: Callable[[int, str], None]
    drain: Callable[[str], None]
    region: str | None = None
    types: frozenset[str] | None = None
    credit: int = 0
    lanes: frozenset[str] = frozenset()
    open: bool = False
    degraded: bool = False
    draining: bool = False
    gone: bool = False
    heard_at: float = 0.0
    held: dict[int, int] = field(default_factory=dict)
    suspects: set[int] = field(default_factory=set)
    settling: set[tuple[int, int]] = field(default_factory=set)
    doubtful: bool = True
    pulls: bool = False
    unconfirmed: bool = False
    launch_id: UUID | None = None

    def wants(self, quiet_since: float) -> bool:
        """Whether tasks may be given to it now: it has credit, is open, and was heard since then."""
        shut = self.draining or self.gone or self.unconfirmed
        return self.credit > 0 and self.open and not shut and self.heard_at >= quiet_since

    def hold(self, claims: Iterable[Claim]) -> None:
        """Remember claims that are sent to it now."""
        for claim in claims:
            if self.held.get(claim.task_id, claim.attempt) != claim.attempt and not self.pulls:
                # Another replica has ended the attempt before, and nobody told us: its slot is free.
                self.credit += 1
            self.held[claim.task_id] = claim.attempt
            if claim.suspect:
                self.suspects.add(claim.task_id)

    def hold_only(self, claims: Iterable[Claim]) -> None:
        """Remember these claims and no others."""
        self.held.clear()
        self.suspects.clear()
        self.hold(claims)

    def let_go(self, task_id: int, attempt: int) -> bool:
        """Forget one attempt; whether it was held."""
        if self.held.get(task_id) != attempt:
            return False
        del self.held[task_id]
        self.suspects.discard(task_id)
        return True

    def dismiss(self, code: int, reason: str) -> None:
        """Give it nothing more from now on, and close its connection."""
        self.gone = True
        self.close(code, reason)

    def taker(self) -> Taker:
        """This session as the assignment sees it."""
        return Taker(
            self.instance_id,
            self.agent_id,
            self.lanes,
            self.credit,
            self.types,
            self.degraded,
            bool(self.suspects),
            len(self.held),
        )
