"""What goes out to one agent: collected while a send is under way, written in as few messages as possible."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from workstation.api.gateway import frames
from workstation.domain.tasks import Claim


class Outbox:
    """Collects frames and sends them in order of urgency: tasks and answers first. run() ends when it is closed."""

    def __init__(self, send_text: Callable[[str], Awaitable[None]]) -> None:
        self._send_text = send_text
        self._encode = msgspec.json.Encoder().encode
        self._tasks: list[Claim] = []
        self._settled: list[frames.SettledItem] = []
        self._cancelled: list[frames.CancelItem] = []
        self._others: list[msgspec.Struct] = []
        self._something = asyncio.Event()
        self.closing: tuple[int, str] | None = None

    def tasks(self, claims: Sequence[Claim]) -> None:
        """Send claims."""
        self._tasks.extend(claims)
        self._something.set()

    def settled(self, items: Sequence[frames.SettledItem]) -> None:
        """Answer reports."""
        self._settled.extend(items)
        self._something.set()

    def cancel(self, attempts: Sequence[tuple[int, int]], reason: str) -> None:
        """Tell it to stop working on attempts."""
        self._cancelled.extend(frames.CancelItem(str(task), attempt, reason) for task, attempt in attempts)
        self._something.set()

    def drain(self, reason: str) -> None:
        """Tell it to finish and go."""
        self._others.append(frames.Drain(reason))
        self._something.set()

    def problem(self, code: str, error: str) -> None:
        """Tell it that a frame could not be understood."""
        self._others.append(frames.Problem(code, error))
        self._something.set()

    def close(self, code: int, reason: str) -> None:
        """Send what is waiting, then close the connection with this code."""
        self.closing = self.closing or (code, reason)
        self._something.set()

    async def run(self) -> None:
        """Write for as long as the connection lasts."""
        while True:
            await self._something.wait()
            self._something.clear()
            for frame in self._collect():
                await self._send_text(self._encode(frame).decode())
            if self.closing is not None:
                return

    def _collect(self) -> list[msgspec.Struct]:
        out = list(self._others)
        self._others.clear()
        if self._cancelled:
            out.append(frames.Cancel(self._cancelled))
            self._cancelled = []
        if self._tasks:
            out.extend(frames.in_frames(map(frames.task_item, self._tasks)))
            self._tasks = []
        if self._settled:
            out.append(frames.Settled(self._settled))
            self._settled = []
        return out
