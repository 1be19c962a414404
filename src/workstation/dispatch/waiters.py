"""Those who wait for a task to become final."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeAlias

_LOOK_AGAIN_SECONDS: Final = 1.0
_LOOK_OFTEN_SECONDS: Final = 0.25
Bell: TypeAlias = "asyncio.Future[None]"


class Waiters:
    """Wakes long polls when a task is settled in this process; a look each second covers other replicas.

    Where hints of theirs do not come, so misses_hints() says, the look is made four times a second.
    """

    def __init__(self, misses_hints: Callable[[], bool] = lambda: False) -> None:
        self._misses_hints = misses_hints
        self._bells: dict[int, set[Bell]] = {}
        self.closed = False

    @contextmanager
    def bell(self, task_id: int) -> Iterator[Bell]:
        """A bell that rings when the task becomes final here: hang it up before looking, so that no end is missed."""
        bell: Bell = asyncio.get_running_loop().create_future()
        self._bells.setdefault(task_id, set()).add(bell)
        try:
            yield bell
        finally:
            bells = self._bells[task_id]
            bells.discard(bell)
            if not bells:
                del self._bells[task_id]

    async def wait(self, bell: Bell, seconds: float) -> None:
        """Return when it rings, or after that many seconds, a second at most: then look again."""
        longest = _LOOK_OFTEN_SECONDS if self._misses_hints() else _LOOK_AGAIN_SECONDS
        await asyncio.wait([bell], timeout=min(seconds, longest))

    def close(self) -> None:
        """The server goes down: nobody is to wait any longer."""
        self.closed = True
        for task_id in self._bells:
            self.tell(task_id)

    def tell(self, task_id: int) -> None:
        """Ring for those who wait for a task."""
        for bell in self._bells.get(task_id, ()):
            if not bell.done():
                bell.set_result(None)
