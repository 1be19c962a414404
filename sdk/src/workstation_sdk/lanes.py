"""Running handlers: many that never wait share one asyncio task, each that waits has one to itself.

A lane is an asyncio task that works through the queue of attempts. The first time a handler really waits,
its lane belongs to it alone (so cancellation, `asyncio.timeout` and task groups see a task of their own) and
another lane takes over the queue. Every handler runs in its own copy of the context.
"""

import asyncio
import contextvars
import logging
import types
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from functools import partial
from typing import Any

from workstation_sdk.attempt import Attempt, Ending
from workstation_sdk.conclusion import completed, raised, released
from workstation_sdk.context import Context, ProgressPort, SyncContext
from workstation_sdk.errors import TaskFailed
from workstation_sdk.protocol import Outcome
from workstation_sdk.schema import PayloadInvalid
from workstation_sdk.threads import Threads

_log = logging.getLogger("workstation_sdk")

SLICE = 0.005
"""Seconds after which handlers that never wait let the rest of the loop have its turn."""

TIMEOUT_GRACE = 1.0
"""Seconds the server has to take a late attempt back before we stop it ourselves."""

Finished = Callable[[Attempt, Outcome], None]


class Lanes:
    """Runs attempts and tells how each ended."""

    def __init__(self, port: ProgressPort, finished: Finished, resources: Any) -> None:
        self._loop = asyncio.get_running_loop()
        self._port = port
        self._finished = finished
        self._resources = resources
        self._threads = Threads()
        self._queue: deque[Attempt] = deque()
        self._lanes: set[asyncio.Task[None]] = set()
        self._open = False

    def start(self, attempt: Attempt) -> None:
        """Queue an attempt; it begins in the loop's next turn."""
        self._queue.append(attempt)
        if not self._open:
            self._open_lane()

    def close(self) -> None:
        """Let idle threads end."""
        self._threads.close()

    def _open_lane(self) -> None:
        self._open = True
        lane = self._loop.create_task(self._lane())
        self._lanes.add(lane)
        lane.add_done_callback(self._lanes.discard)

    async def _lane(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        queue, loop = self._queue, self._loop
        ends = loop.time() + SLICE
        while queue:
            attempt = queue.popleft()
            attempt.task = task
            outcome = await self._outcome(attempt) if attempt.ending is None else released(attempt)
            attempt.task = None
            self._finished(attempt, outcome)
            if attempt.timer is not None:
                attempt.timer.cancel()
                return
            if task.cancelling():
                break
            if loop.time() >= ends:
                await asyncio.sleep(0)
                ends = loop.time() + SLICE
        self._hand_over()

    def _hand_over(self) -> None:
        self._open = False
        if self._queue:
            self._open_lane()

    async def _outcome(self, attempt: Attempt) -> Outcome:
        handler = attempt.handler
        try:
            arguments = handler.parameters.arguments(attempt.claim.payload)
            context: Context | SyncContext
            if handler.blocking:
                context = SyncContext(attempt, self._port, self._resources)
                work = self._in_thread(partial(handler.function, context, **arguments))
            else:
                context = Context(attempt, self._port, self._resources)
                work = handler.function(context, **arguments)
            result = await _drive(work, self._waits, attempt)
        except (Exception, asyncio.CancelledError, SystemExit) as error:  # noqa: BLE001 - it may be any
            _tell(attempt, error)
            return raised(attempt, error)
        return completed(attempt, result, context.usage)

    async def _in_thread(self, call: Callable[[], Any]) -> Any:
        return await asyncio.wrap_future(self._threads.submit(call))

    def _waits(self, attempt: Attempt) -> None:
        seconds = attempt.claim.timeout_ms / 1000 + TIMEOUT_GRACE
        attempt.timer = self._loop.call_later(seconds, attempt.stop, Ending.TIMED_OUT)
        self._hand_over()


@types.coroutine
def _drive(
    work: Coroutine[Any, Any, Any], waits: Callable[[Attempt], None], attempt: Attempt
) -> Generator[Any, Any, Any]:
    enter = contextvars.copy_context().run
    try:
        awaited = enter(work.send, None)
    except StopIteration as end:
        return end.value
    waits(attempt)
    while True:
        step: Callable[[], Any]
        try:
            sent = yield awaited
        except BaseException as error:  # noqa: BLE001 - what is thrown at the task is the handler's to see
            step = partial(work.throw, error)
        else:
            step = partial(work.send, sent)
        try:
            awaited = enter(step)
        except StopIteration as end:
            return end.value


def _tell(attempt: Attempt, error: BaseException) -> None:
    if attempt.ending is not None or isinstance(error, TaskFailed | PayloadInvalid):
        _log.info("task %s attempt %d: %s", *attempt.key, attempt.ending.value if attempt.ending else error)
    else:
        _log.warning("task %s attempt %d failed", *attempt.key, exc_info=error)
