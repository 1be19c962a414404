"""Group commit: what arrives while a statement of its kind is in flight goes with the next one. No timer."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, TypeVar

from workstation.domain.errors import Unavailable

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")

CAP: Final = 500


class Batcher(Generic[Asked, Answer]):
    """Collects what is asked one by one, and runs it in batches, one batch at a time.

    run(batch) returns one answer or exception for each item, in order; when it raises, every item of the batch gets
    that exception. When the last answer is Unavailable, so is that of all who wait already. weight says how many rows
    an item stands for; a batch has at most CAP rows, or one heavy item.
    """

    def __init__(
        self,
        name: str,
        run: Callable[[list[Asked]], Awaitable[Sequence[Answer | Exception]]],
        weight: Callable[[Asked], int] | None = None,
    ) -> None:
        self.name = name
        self._run = run
        self._weight = weight
        self._waiting: deque[tuple[Asked, asyncio.Future[Answer]]] = deque()
        self._pump: asyncio.Task[None] | None = None

    def ask(self, item: Asked) -> asyncio.Future[Answer]:
        """The future answer for one item; awaiting it waits for the commit."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._pump is None:
            self._pump = asyncio.create_task(self._drain(), name=f"batcher {self.name}")
        return future

    async def _drain(self) -> None:
        try:
            while self._waiting:
                batch = self._next_batch()
                await self._answer(batch)
        finally:
            self._pump = None

    def _next_batch(self) -> list[tuple[Asked, asyncio.Future[Answer]]]:
        if self._weight is None and len(self._waiting) <= CAP:
            batch = list(self._waiting)
            self._waiting.clear()
            return batch
        batch, rows = [], 0
        while self._waiting:
            rows += self._weight(self._waiting[0][0]) if self._weight else 1
            if batch and rows > CAP:
                break
            batch.append(self._waiting.popleft())
        return batch

    async def _answer(self, batch: list[tuple[Asked, asyncio.Future[Answer]]]) -> None:
        try:
            answers = await self._run([item for item, _ in batch])
            if len(answers) != len(batch):
                wrong = f"{self.name} gave {len(answers)} answers to {len(batch)} questions."
                raise ValueError(wrong)  # noqa: TRY301 - told to everybody who asked, like any other failure
        except Exception as error:  # noqa: BLE001 - whoever asked gets it, each of them
            answers = [error] * len(batch)
        except BaseException:
            for _, future in batch:
                future.cancel()
            raise
        if isinstance(answers[-1], Unavailable):
            # Whoever waited behind this batch has waited for the whole deadline too.
            answers = [*answers, *[answers[-1]] * len(self._waiting)]
            batch = [*batch, *self._waiting]
            self._waiting.clear()
        for (_, future), answer in zip(batch, answers, strict=True):
            if future.done():
                continue
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)

    async def close(self) -> None:
        """Wait until everything asked so far has been answered."""
        while self._pump is not None:
            await asyncio.wait([self._pump])
