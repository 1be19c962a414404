"""The loop: when it steps again, and that nothing but cancellation ends it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from workstation.engine.loop import Loop

NEVER = timedelta(hours=1)
SOON = timedelta(milliseconds=1)


@asynccontextmanager
async def running(loop: Loop) -> AsyncIterator[None]:
    task = asyncio.create_task(loop.run())
    try:
        async with asyncio.timeout(30):
            yield
    finally:
        assert not task.done()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


class Steps:
    """A step that plays a script of counts and errors, then finds nothing."""

    def __init__(self, *script: int | Exception) -> None:
        self.script = list(script)
        self.calls = 0
        self._called = asyncio.Condition()

    async def __call__(self) -> int:
        async with self._called:
            self.calls += 1
            self._called.notify_all()
        outcome = self.script.pop(0) if self.script else 0
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def reached(self, calls: int) -> None:
        async with self._called:
            await self._called.wait_for(lambda: self.calls >= calls)


async def settle() -> None:
    """Let everything that can run now run."""
    for _ in range(20):
        await asyncio.sleep(0)


def loop_of(step: Callable[[], Awaitable[int]], interval: timedelta, **options: timedelta | float) -> Loop:
    return Loop("reaper", step, interval=interval, batch=10, draw=lambda: 0.0, **options)  # type: ignore[arg-type]


async def test_full_batches_are_followed_at_once_and_a_partial_one_by_a_rest() -> None:
    steps = Steps(10, 10, 3)
    loop = loop_of(steps, NEVER)
    async with running(loop):
        await steps.reached(3)
        await settle()
        assert steps.calls == 3
        assert (loop.status.steps, loop.status.found) == (3, 23)


async def test_a_full_batch_without_end_does_not_starve_others() -> None:
    steps = Steps(*[10] * 1_000_000)
    async with running(loop_of(steps, NEVER)):
        await asyncio.sleep(0.01)
    assert steps.calls < 1_000_000


async def test_after_the_interval_it_steps_again() -> None:
    steps = Steps()
    async with running(loop_of(steps, SOON)):
        await steps.reached(3)


async def test_a_nudge_ends_the_rest() -> None:
    steps = Steps()
    loop = loop_of(steps, NEVER)
    async with running(loop):
        await steps.reached(1)
        await settle()
        loop.nudge()
        await steps.reached(2)


async def test_a_nudge_during_a_step_is_not_lost() -> None:
    entered, leave, calls = asyncio.Event(), asyncio.Event(), 0

    async def step() -> int:
        nonlocal calls
        calls += 1
        entered.set()
        await leave.wait()
        return 0

    loop = loop_of(step, NEVER)
    async with running(loop):
        await entered.wait()
        loop.nudge()
        leave.set()
        while calls < 2:
            await asyncio.sleep(0)
        await settle()
        assert calls == 2


async def test_an_error_is_logged_remembered_and_outlived() -> None:
    steps = Steps(OSError("no route"), ValueError("odd"))
    loop = loop_of(steps, SOON)
    with capture_logs() as logs:
        async with running(loop):
            await steps.reached(2)
            await settle()
            ill = loop.status
            assert (ill.failures, ill.last_error, ill.idle_for) == (2, "ValueError: odd", None)
            await steps.reached(3)
            await settle()
            well = loop.status
            assert (well.failures, well.last_error) == (0, None) and well.idle_for is not None
    assert [(entry["event"], entry["loop"], entry["error"]) for entry in logs] == [
        ("loop.step_failed", "reaper", "OSError: no route"),
        ("loop.step_failed", "reaper", "ValueError: odd"),
    ]


async def test_nudges_do_not_shorten_a_backoff() -> None:
    steps = Steps(OSError("no route"))
    loop = loop_of(steps, NEVER)
    async with running(loop):
        await steps.reached(1)
        loop.nudge()
        await asyncio.sleep(0.02)
        assert steps.calls == 1


async def test_backoff_doubles_up_to_a_limit() -> None:
    loop = loop_of(Steps(), timedelta(seconds=1))
    waits = []
    for failures in (1, 2, 3, 4, 5, 6, 1000):
        loop._failures = failures
        waits.append(loop._backoff())
    assert waits == [2, 4, 8, 16, 30, 30, 30]


async def test_a_step_over_its_deadline_is_cancelled_and_said_so() -> None:
    cancelled = asyncio.Event()

    async def step() -> int:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return 0

    loop = loop_of(step, NEVER, deadline=timedelta(seconds=0.01))
    async with running(loop):
        await cancelled.wait()
        await settle()
        assert loop.status.last_error == "The step did not end within 0.01 s."


async def test_jitter_only_shortens_a_rest() -> None:
    loop = Loop("reaper", Steps(), interval=timedelta(seconds=10), batch=1, jitter=0.2, draw=lambda: 0.5)
    assert loop._spread(10) == pytest.approx(9)


async def test_a_loop_without_a_batch_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Loop("reaper", Steps(), interval=NEVER, batch=0)
