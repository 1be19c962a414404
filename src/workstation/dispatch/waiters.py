"""Those who wait for a task to become final."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

_LOOK_AGAIN_SECONDS: Final = 1.0
_LOOK_OFTEN_SECONDS: Final = 0.25


class Waiters:
    """Wakes long polls when a task is settled in this process; a look each second covers other replicas.

    Where hints of theirs do not come, so misses_hints() says, the look is made four times a second.
    """

    def __init__(self, misses_hints: Callable[[], bool] = lambda: False) -> None:
        self._misses_hints = misses_hints
        self._waiting: dict[int, set[asyncio.Future[None]]] = {}
        self.closed = False

    async def wait(self, task_id: int, seconds: float) -> None:
        """Return when a task became final here, or after that many seconds, a second at most: then look again."""
        if self.closed:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(task_id, set()).add(future)
        longest = _LOOK_OFTEN_SECONDS if self._misses_hints() else _LOOK_AGAIN_SECONDS
        try:
            await asyncio.wait([future], timeout=min(seconds, longest))
        finally:
            waiting = self._waiting[task_id]
            waiting.discard(future)
            if not waiting:
                del self._waiting[task_id]

    def close(self) -> None:
        """The server goes down: nobody is to wait any longer."""
        self.closed = True
        for task_id in list(self._waiting):
            self.tell(task_id)

    def tell(self, task_id: int) -> None:
        """Wake those who wait for a task."""
        for future in self._waiting.get(task_id, ()):
            if not future.done():
                future.set_result(None)
