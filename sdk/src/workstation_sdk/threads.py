"""Threads for blocking handlers: daemons, so a handler that never returns cannot keep the process alive."""

import asyncio
import contextvars
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any

_Job = tuple[asyncio.Future[Any], Callable[[], Any], contextvars.Context]
_End = tuple[asyncio.Future[Any], Any, BaseException | None]


class Threads:
    """As many threads as there are calls at once; idle ones are used again. One event loop calls."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._ended: deque[_End] = deque()
        self._signalled = False
        self._calls = 0
        self._threads = 0

    async def call(self, call: Callable[[], Any]) -> Any:
        """Return what the call returns in a thread, in a copy of the current context."""
        future: asyncio.Future[Any] = self._loop.create_future()
        self._calls += 1
        if self._calls > self._threads:
            self._threads += 1
            threading.Thread(target=self._work, name=f"handler-{self._threads}", daemon=True).start()
        self._jobs.put((future, call, contextvars.copy_context()))
        return await future

    def close(self) -> None:
        """Let every thread end once it is idle."""
        for _ in range(self._threads):
            self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            future, call, context = job
            self._ended.append((future, *_outcome_of(context, call)))
            del job, future, call, context
            if not self._signalled:
                self._signalled = True
                with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                    self._loop.call_soon_threadsafe(self._collect)

    def _collect(self) -> None:
        self._signalled = False
        while self._ended:
            future, result, error = self._ended.popleft()
            self._calls -= 1
            if future.done():
                continue
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)


def _outcome_of(context: contextvars.Context, call: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    try:
        return context.run(call), None
    except StopIteration as error:
        failure = RuntimeError("the handler raised StopIteration")
        failure.__cause__ = error
        return None, failure
    except BaseException as error:  # noqa: BLE001 - whatever ends the call belongs to who awaits it
        return None, error
