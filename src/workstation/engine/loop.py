"""One loop for everything that happens by itself: a bounded step, again at once while there is more, else later."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

import structlog

from workstation.domain.errors import Unavailable

_log = structlog.get_logger(__name__)
_MOST_BACKOFF_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class LoopState:
    """What doctor wants to know of a loop. Instants are seconds of the clock that the loop was given."""

    name: str
    last_run_at: float | None
    last_error: str | None
    failures: int


class Loop:
    """Runs step() for ever: at once again while it returns more than 0, else after the interval or a nudge.

    A step that fails is logged and tried again after a growing pause; one that outlives its deadline is cut off.
    """

    def __init__(
        self,
        name: str,
        step: Callable[[], Awaitable[int]],
        *,
        interval: timedelta,
        clock: Callable[[], float],
        deadline: timedelta = timedelta(seconds=30),
    ) -> None:
        self.name = name
        self._step = step
        self._interval = interval.total_seconds()
        self._deadline = deadline.total_seconds()
        self._clock = clock
        self._nudged = asyncio.Event()
        self._last_run_at: float | None = None
        self._last_error: str | None = None
        self._failures = 0

    @property
    def state(self) -> LoopState:
        """How it is doing."""
        return LoopState(self.name, self._last_run_at, self._last_error, self._failures)

    def nudge(self) -> None:
        """Do not wait for the interval."""
        self._nudged.set()

    async def run(self) -> None:
        """Run until cancelled."""
        while True:
            self._nudged.clear()
            if await self._run_step() > 0:
                await asyncio.sleep(0)
                continue
            pause = min(self._interval * 2**self._failures, max(_MOST_BACKOFF_SECONDS, self._interval))
            try:
                async with asyncio.timeout(pause if self._failures else self._interval):
                    await self._nudged.wait()
            except TimeoutError:
                continue

    async def _run_step(self) -> int:
        try:
            async with asyncio.timeout(self._deadline):
                done = await self._step()
        except Unavailable as error:
            # The database is away: that is told once by whoever watches it, and tried again at the usual pace.
            self._last_error = error.message
            return 0
        except Exception as error:  # noqa: BLE001 - a loop outlives whatever one of its steps meets
            self._failures = min(self._failures + 1, 8)
            self._last_error = f"{type(error).__name__}: {error}"
            _log.exception("loop_failed", loop=self.name, failures=self._failures)
            return 0
        self._failures = 0
        self._last_error = None
        self._last_run_at = self._clock()
        return done
