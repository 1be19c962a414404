"""An event loop in which time is a number: it jumps to the next timer, and nothing outside can be waited for."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from itertools import count
from typing import Any, TypeVar

T = TypeVar("T")


class Deadlock(AssertionError):
    """Everybody waits, and no timer is left that could wake anybody."""


class _Numbered(asyncio.Task[Any]):
    """A task whose hash is its number, so that sets of tasks have the same order in every run."""

    def __init__(self, coroutine: Any, *, number: int, **options: Any) -> None:
        self._number = number
        super().__init__(coroutine, **options)

    def __hash__(self) -> int:
        return self._number


class _NumberedFuture(asyncio.Future[Any]):
    def __init__(self, *, number: int, loop: asyncio.AbstractEventLoop) -> None:
        self._number = number
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self._number


class _Jump:
    """Stands where a selector would: instead of waiting it moves the clock."""

    def __init__(self, loop: VirtualTimeLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        self._loop.jump(timeout)
        return []

    def close(self) -> None:
        """There is nothing to close."""


class VirtualTimeLoop(asyncio.BaseEventLoop):
    """Callbacks run first in, first out, as asyncio promises; timers that are due together in an order by seed."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._now = 0.0
        self._random = random.Random(f"timers {seed}")
        self._numbers = count(1)
        self._clock_resolution = 1e-9
        self._selector = _Jump(self)
        self.turns = 0
        self.problems: list[str] = []
        self.set_task_factory(self._new_task)
        self.set_exception_handler(self._on_problem)

    def time(self) -> float:
        """Seconds since the loop was made."""
        return self._now

    def create_future(self) -> asyncio.Future[Any]:
        """A future with a number."""
        return _NumberedFuture(number=next(self._numbers), loop=self)

    def call_at(self, when: float, callback: Any, *args: Any, context: Any = None) -> asyncio.TimerHandle:
        """As asyncio's; which of several timers of one instant is first, the seed decides."""
        return super().call_at(when + self._random.random() * 1e-7, callback, *args, context=context)

    def jump(self, timeout: float | None) -> None:
        """Go to the next timer."""
        self.turns += 1
        if timeout is None and not self._stopping:
            waiting = sorted(task.get_name() for task in asyncio.all_tasks(self))
            raise Deadlock(f"everybody waits for ever: {waiting}")
        if timeout:
            self._now += timeout

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:
        """Threads know nothing of this loop's time."""
        raise RuntimeError("a simulation has no threads")

    def _new_task(self, loop: Any, coroutine: Coroutine[Any, Any, Any], **options: Any) -> asyncio.Task[Any]:
        return _Numbered(coroutine, number=next(self._numbers), loop=loop, **options)

    def _on_problem(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.problems.append(f"{context.get('message')}: {context.get('exception')!r}")

    def _process_events(self, event_list: list[Any]) -> None:
        pass

    def _write_to_self(self) -> None:
        pass


def run_virtually(main: Coroutine[Any, Any, T], seed: int) -> T:
    """Run to the end in virtual time; everything left over is cancelled. Raises Deadlock."""
    loop = VirtualTimeLoop(seed)
    try:
        asyncio.set_event_loop(loop)
        return loop.run_until_complete(main)
    finally:
        left = sorted(asyncio.all_tasks(loop), key=hash)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        asyncio.set_event_loop(None)
        loop.close()
