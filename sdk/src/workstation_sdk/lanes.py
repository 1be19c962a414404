"""Running handlers: many that never wait share one asyncio task, each that waits has one to itself.

A lane is an asyncio task that works through the queue of attempts. The first time a handler really waits,
its lane belongs to it alone (so cancellation, `asyncio.timeout` and task groups see a task of their own) and
another lane takes over the queue. A handler that waited last time gets a task of its own at once. Every
handler runs in its own copy of the context.
"""

import asyncio
import contextvars
import logging
import types
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from functools import partial
from typing import Any

from workstation_sdk.attempt import Attempt
from workstation_sdk.conclusion import completed, raised, released
from workstation_sdk.context import Context, ProgressPort, SyncContext
from workstation_sdk.errors import TaskFailed
from workstation_sdk.protocol import Outcome
from workstation_sdk.schema import PayloadInvalid
from workstation_sdk.threads import Threads

_log = logging.getLogger("workstation_sdk")

SLICE = 0.005
"""Seconds after which handlers that never wait let the rest of the loop have its turn."""

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
        self._tasks: set[asyncio.Task[None]] = set()
        self._shared: asyncio.Task[None] | None = None

    def start(self, attempt: Attempt) -> None:
        """Begin an attempt in the loop's next turn, alone where its handler waited last time."""
        if attempt.handler.waits:
            self._spawn(self._alone(attempt))
        else:
            self._queue.append(attempt)
            if self._shared is None:
                self._shared = self._spawn(self._lane())

    def close(self) -> None:
        """Let idle threads end."""
        self._threads.close()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _lane(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        queue, loop = self._queue, self._loop
        ends = loop.time() + SLICE
        while queue:
            await self._work(queue.popleft(), task)
            if self._shared is not task:
                return
            if task.cancelling():
                break
            if loop.time() >= ends:
                await asyncio.sleep(0)
                ends = loop.time() + SLICE
        self._hand_over()

    async def _alone(self, attempt: Attempt) -> None:
        task = asyncio.current_task()
        assert task is not None
        attempt.handler.waits = False
        await self._work(attempt, task)

    async def _work(self, attempt: Attempt, task: asyncio.Task[None]) -> None:
        attempt.task = task
        outcome = await self._outcome(attempt) if attempt.ending is None else released(attempt)
        attempt.task = None
        self._finished(attempt, outcome)

    def _hand_over(self) -> None:
        """Give up the lane: handlers that are known to wait get a task each, the others a new lane."""
        self._shared = None
        queue, self._queue = self._queue, deque()
        for attempt in queue:
            self.start(attempt)

    async def _outcome(self, attempt: Attempt) -> Outcome:
        handler = attempt.handler
        try:
            arguments = handler.parameters.arguments(attempt.claim.payload)
            context: Context | SyncContext
            if handler.blocking:
                context = SyncContext(attempt, self._port, self._resources)
                work = self._threads.call(partial(handler.function, context, **arguments))
            else:
                context = Context(attempt, self._port, self._resources)
                work = handler.function(context, **arguments)
            result = await _drive(work, self._waits, attempt)
        except (Exception, asyncio.CancelledError, SystemExit) as error:  # noqa: BLE001 - a handler may raise any
            _tell(attempt, error)
            return raised(attempt, error)
        return completed(attempt, result, context.usage)

    def _waits(self, attempt: Attempt) -> None:
        attempt.handler.waits = True
        if attempt.task is self._shared:
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
