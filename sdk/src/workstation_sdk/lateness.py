"""Timeouts enforced on our side too: one look over all attempts, instead of a timer for each."""

import asyncio
from collections.abc import Mapping

from workstation_sdk.attempt import Attempt, Ending, Key

GRACE = 0.5
"""Seconds the server has to take a late attempt back before we stop it ourselves."""
LOOK_SECONDS = (0.05, 0.5)
"""Shortest and longest time between two looks."""


class Lateness:
    """Stops attempts that outlive their timeout; looks only while there are any."""

    def __init__(self, attempts: Mapping[Key, Attempt]) -> None:
        self._loop = asyncio.get_running_loop()
        self._attempts = attempts
        self._timer: asyncio.TimerHandle | None = None

    def watch(self) -> float:
        """Have attempts looked after from now on, and return the loop's time."""
        if self._timer is None:
            self._timer = self._loop.call_later(LOOK_SECONDS[0], self._look)
        return self._loop.time()

    def close(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        if not self._attempts:
            return
        limit = self._loop.time() - GRACE
        earliest = limit + LOOK_SECONDS[1]
        for attempt in list(self._attempts.values()):
            if attempt.late_at > limit:
                earliest = min(earliest, attempt.late_at)
            elif attempt.ending is None:
                attempt.stop(Ending.TIMED_OUT)
        self._timer = self._loop.call_later(max(earliest - limit, LOOK_SECONDS[0]), self._look)
