"""Threads for blocking handlers: daemons, so a handler that never returns cannot keep the process alive."""

import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any

_Job = tuple[Future[Any], Callable[[], Any]]


class Threads:
    """As many threads as there are calls at once; idle ones are used again."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._count = 0

    def submit(self, call: Callable[[], Any]) -> Future[Any]:
        """Run the call in a thread, in a copy of the current context, and return its future."""
        future: Future[Any] = Future()
        context = contextvars.copy_context()
        if not self._idle.acquire(blocking=False):
            self._count += 1
            threading.Thread(target=self._work, name=f"handler-{self._count}", daemon=True).start()
        self._jobs.put((future, lambda: context.run(call)))
        return future

    def close(self) -> None:
        """Let every thread end once it is idle."""
        for _ in range(self._count):
            self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            _do(*job)
            del job
            self._idle.release()


def _do(future: Future[Any], call: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = call()
    except StopIteration as error:
        failure = RuntimeError("the handler raised StopIteration")
        failure.__cause__ = error
        future.set_exception(failure)
    except BaseException as error:  # noqa: BLE001 - whatever ends the call belongs to who awaits it
        future.set_exception(error)
    else:
        future.set_result(result)
