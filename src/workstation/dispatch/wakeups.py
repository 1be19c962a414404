"""Hints between replicas: a NOTIFY tells the others what to look at; a poll each second stands behind every hint."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Iterator
from uuid import UUID

import structlog

from workstation.domain.errors import Unavailable
from workstation.store import nodes as store
from workstation.store.database import Database

CHANNEL = "workstation"
# PostgreSQL takes notifications of less than 8,000 bytes.
_MOST_BYTES = 7000
_RETRY_SECONDS = 1.0
_log = structlog.get_logger(__name__)


class Wakeups:
    """Sends hints about lanes, agents, cancelled and finished tasks, coalesced; hears those of other replicas."""

    def __init__(self, database: Database, node_id: UUID, heard: Callable[[str, list[str]], None]) -> None:
        self._database = database
        self._node = str(node_id)
        self._heard = heard
        self._waiting: dict[str, set[str]] = {}
        self._pump: asyncio.Task[None] | None = None
        self._deaf = asyncio.Event()
        self.others = 0

    def tell(self, kind: str, names: Iterable[str]) -> None:
        """Tell the other replicas; nothing is sent while there are none."""
        if self.others == 0:
            return
        self._waiting.setdefault(kind, set()).update(names)
        if self._pump is None:
            self._pump = asyncio.create_task(self._send(), name="wakeups")

    async def count_others(self) -> None:
        """Look how many other replicas live."""
        async with self._database.session() as connection:
            self.others = await store.count_others(connection, UUID(self._node))

    async def _send(self) -> None:
        try:
            while self._waiting:
                kind, names = self._waiting.popitem()
                async with self._database.session() as connection:
                    for hint in _in_parts(names):
                        await store.notify(connection, CHANNEL, json.dumps([self._node, kind, hint]))
        except Unavailable:
            # A hint is only a hint: the poll of the others finds what it was about.
            _log.warning("hint_not_sent", kind="notify")
        finally:
            self._pump = None

    async def listen(self) -> None:
        """Hear hints for ever, through one connection that is opened again when it ends; cancel to end."""
        while True:
            try:
                connection = await self._database.listen(CHANNEL, self._on_hint, self._deaf.set)
            except Unavailable:
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            try:
                await self._deaf.wait()
            finally:
                self._deaf.clear()
                connection.terminate()

    def _on_hint(self, payload: str) -> None:
        node, kind, names = json.loads(payload)
        if node != self._node:
            self._heard(kind, names)


def _in_parts(names: Iterable[str]) -> Iterator[list[str]]:
    part: list[str] = []
    size = 0
    for name in sorted(names):
        weight = len(json.dumps(name)) + 2
        if part and size + weight > _MOST_BYTES:
            yield part
            part, size = [], 0
        part.append(name)
        size += weight
    if part:
        yield part
