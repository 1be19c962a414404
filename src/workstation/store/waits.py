"""How a replica fares with its connections: waits for one of the pool, and kept ones that were lost."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

REMEMBERED: Final = timedelta(minutes=10)
_MOST: Final = 10_000


@dataclass(frozen=True, slots=True)
class PoolUse:
    """A pool over the last ten minutes: how many had to wait because all was taken, for how long, how many in vain."""

    size: int
    taken: int
    waits: int
    longest: timedelta
    in_vain: int


class PoolWatch:
    """Counts who waits for a connection because all of the pool are taken."""

    def __init__(self, size: int, clock: Callable[[], float]) -> None:
        self._size = size
        self._clock = clock
        self._taken = 0
        self._waits: deque[tuple[float, float, bool]] = deque(maxlen=_MOST)

    def asked(self) -> float | None:
        """Somebody asks for a connection: when, if none is free."""
        return self._clock() if self._taken >= self._size else None

    def got(self, asked_at: float | None) -> None:
        """It was given."""
        self._taken += 1
        self._note(asked_at, in_vain=False)

    def given_up(self, asked_at: float | None) -> None:
        """It was not given in time."""
        self._note(asked_at, in_vain=True)

    def gave_back(self) -> None:
        """It is free again."""
        self._taken -= 1

    def _note(self, asked_at: float | None, *, in_vain: bool) -> None:
        if asked_at is not None:
            now = self._clock()
            self._waits.append((now, now - asked_at, in_vain))

    def use(self) -> PoolUse:
        """What the last ten minutes were like."""
        since = self._clock() - REMEMBERED.total_seconds()
        recent = [(seconds, in_vain) for at, seconds, in_vain in self._waits if at >= since]
        longest = max((seconds for seconds, _ in recent), default=0.0)
        return PoolUse(
            self._size, self._taken, len(recent), timedelta(seconds=longest), sum(in_vain for _, in_vain in recent)
        )


class Openings:
    """Counts how often a kept connection had to be opened again."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._at: deque[float] = deque(maxlen=_MOST)
        self._opened = False

    def opened(self) -> None:
        """It was opened; the first time is not counted."""
        if self._opened:
            self._at.append(self._clock())
        self._opened = True

    def again(self) -> int:
        """How often again in the last ten minutes."""
        since = self._clock() - REMEMBERED.total_seconds()
        return sum(at >= since for at in self._at)
