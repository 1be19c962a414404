"""The one loop that all background work runs in."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

import structlog

from workstation.domain.errors import Unavailable

log = structlog.get_logger(__name__)

LONGEST_BACKOFF = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class LoopStatus:
    """How a loop fares, for `doctor`.

    `steps` ended without error and found `found` things in all; `failures` is the number in a row, 0 when
    well. `idle_for` is the time since a step last ended well (None: never); `last_error` stays until the next
    good step.
    """

    name: str
    steps: int
    found: int
    failures: int
    idle_for: timedelta | None
    last_error: str | None


class Loop:
    """Repeats a bounded step `<verb>_once() → count` for as long as the process lives.

    A step that returns a full `batch` is repeated at once; otherwise the loop rests for `interval` or until
    nudged. A step over its `deadline` is cancelled. Errors are logged and backed off from; nothing but
    cancellation ends it.
    """

    def __init__(
        self,
        name: str,
        step: Callable[[], Awaitable[int]],
        *,
        interval: timedelta,
        batch: int,
        deadline: timedelta = timedelta(seconds=30),
        jitter: float = 0.1,
        draw: Callable[[], float] = random.random,
    ) -> None:
        """`jitter` is the share of a rest that `draw()` (0 to 1) may cut off, so that replicas do not march
        in step.
        """
        if batch < 1:
            raise ValueError(f"The batch of loop {name} must be at least 1: it is {batch}.")
        self.name = name
        self._step = step
        self._interval = interval.total_seconds()
        self._batch = batch
        self._deadline = deadline.total_seconds()
        self._jitter = jitter
        self._draw = draw
        self._nudged = asyncio.Event()
        self._steps = 0
        self._found = 0
        self._failures = 0
        self._last_good: float | None = None
        self._last_error: str | None = None

    def nudge(self) -> None:
        """Say that there is work: the rest ends now, or the step that runs is followed by another at once."""
        self._nudged.set()

    @property
    def status(self) -> LoopStatus:
        """How it fares now. Needs the running event loop, for its clock."""
        idle = None if self._last_good is None else asyncio.get_running_loop().time() - self._last_good
        idle_for = None if idle is None else timedelta(seconds=idle)
        return LoopStatus(self.name, self._steps, self._found, self._failures, idle_for, self._last_error)

    async def run(self) -> None:
        """Run until cancelled. A step that is cancelled with it has to leave nothing half done."""
        while True:
            self._nudged.clear()
            found = await self._step_safely()
            if found is None:
                await asyncio.sleep(self._backoff())
            elif found < self._batch:
                await self._rest()
            else:
                await asyncio.sleep(0)  # Others get their turn even if the step never waits.

    async def _step_safely(self) -> int | None:
        """The step's count, or None where it failed."""
        try:
            async with asyncio.timeout(self._deadline):
                found = await self._step()
        except Unavailable as error:
            # An outage of the database ends for all loops at once: none of them may be in a long pause then.
            self._last_error = error.message
            return 0
        except Exception as error:
            self._failures += 1
            self._last_error = _sentence(error, self._deadline)
            log.warning(
                "loop.step_failed",
                loop=self.name,
                failures=self._failures,
                error=self._last_error,
                exc_info=error,
            )
            return None
        self._steps += 1
        self._found += found
        self._failures = 0
        self._last_error = None
        self._last_good = asyncio.get_running_loop().time()
        return found

    async def _rest(self) -> None:
        try:
            async with asyncio.timeout(self._spread(self._interval)):
                await self._nudged.wait()
        except TimeoutError:
            return

    def _backoff(self) -> float:
        """Nudges don't shorten it: they come fastest when everything fails."""
        longest = max(LONGEST_BACKOFF.total_seconds(), self._interval)
        return self._spread(min(self._interval * 2.0 ** min(self._failures, 30), longest))

    def _spread(self, seconds: float) -> float:
        return seconds * (1 - self._jitter * self._draw())


def _sentence(error: Exception, deadline: float) -> str:
    if isinstance(error, TimeoutError) and not str(error):
        return f"The step did not end within {deadline:g} s."
    return f"{type(error).__name__}: {error}"
