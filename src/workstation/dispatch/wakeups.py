"""Hints between replicas: a NOTIFY tells the others what to look at; a poll each second stands behind every hint."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import timedelta
from uuid import UUID, uuid4

import structlog

from workstation.domain.errors import Unavailable
from workstation.store import nodes as store
from workstation.store.database import Database

CHANNEL = "workstation"
# PostgreSQL takes notifications of less than 8,000 bytes.
_MOST_BYTES = 7000
_RETRY_SECONDS = 1.0
# A connection can be dead without either end knowing: what we send to ourselves must come back on it.
_ECHO_EVERY_SECONDS = 15.0
ECHO_SECONDS = 2.0
_ECHO = "echo"
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
        self._echoes: dict[str, asyncio.Future[None]] = {}
        self.others = 0
        self.hears = False
        self._heard_at: float | None = None

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

    @property
    def misses_hints(self) -> bool:
        """Whether others may send hints that do not come: what they tell of has to be looked for more often."""
        return self.others > 0 and not self.hears

    @property
    def silent_for(self) -> timedelta | None:
        """How long nothing was heard, an echo of ours neither; None when nothing ever was."""
        if self._heard_at is None:
            return None
        return timedelta(seconds=asyncio.get_running_loop().time() - self._heard_at)

    async def listen(self) -> None:
        """Hear hints for as long as the database can be listened to, on a connection that is opened again when it ends.

        Cancel to end.
        """
        while self._database.can_listen:
            try:
                connection = await self._database.listen(CHANNEL, self._on_hint, self._deaf.set)
            except Unavailable:
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            try:
                self._deaf.clear()
                self.hears = await self.echo() is not None
                while self.hears and not await self._lost_within(_ECHO_EVERY_SECONDS):
                    self.hears = await self.echo() is not None
            finally:
                self.hears = False
                connection.terminate()
            if not self._deaf.is_set():
                _log.warning("deaf", reason="A notification to ourselves did not come; listening is begun anew.")
                await asyncio.sleep(_RETRY_SECONDS)

    async def echo(self) -> float | None:
        """Send a notification to ourselves: after how many seconds it came, None when it does not within two."""
        loop = asyncio.get_running_loop()
        name = str(uuid4())
        heard = self._echoes[name] = loop.create_future()
        began = loop.time()
        try:
            async with self._database.session() as connection:
                await store.notify(connection, CHANNEL, json.dumps([self._node, _ECHO, [name]]))
            async with asyncio.timeout(ECHO_SECONDS):
                await heard
        except TimeoutError:
            return None
        except Unavailable:
            # Whether it would have come is not known; the loss of the connection is told by the driver.
            return 0.0 if self.hears else None
        finally:
            del self._echoes[name]
        return loop.time() - began

    async def _lost_within(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._deaf.wait()
        return self._deaf.is_set()

    def _on_hint(self, payload: str) -> None:
        self._heard_at = asyncio.get_running_loop().time()
        node, kind, names = json.loads(payload)
        if node != self._node:
            self._heard(kind, names)
        elif kind == _ECHO:
            for name in names:
                if name in self._echoes and not self._echoes[name].done():
                    self._echoes[name].set_result(None)


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
