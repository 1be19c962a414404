"""Tokens that were taken back, known to this process."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Final, TypeAlias
from uuid import UUID

from workstation.services import tokens
from workstation.store.database import Database

_FORGET_EVERY: Final = 600

Listener: TypeAlias = Callable[[frozenset[str]], None]


class Revocations:
    """The ids of revoked tokens: read again by refresh(), each second, and known at once after a local revoke."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._since: datetime | None = None
        self._reads = 0
        self._listeners: list[Listener] = []
        self.revoked: set[str] = set()

    def on_revoked(self, listener: Listener) -> Callable[[], None]:
        """Call listener(ids) whenever tokens are newly known to be revoked; returns how to stop that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    async def refresh(self) -> int:
        """Read what was revoked since the last time; returns how many are new here. Raises Unavailable."""
        self._reads += 1
        everything = self._reads % _FORGET_EVERY == 0
        found, self._since = await tokens.list_revoked(self._database, None if everything else self._since)
        news = self.add(found)
        if everything:
            # What has expired meanwhile is refused for that; nobody needs to remember that it was revoked too.
            self.revoked.intersection_update(map(str, found))
        return news

    def add(self, ids: Iterable[UUID]) -> int:
        """Take note of revoked tokens and tell the listeners; returns how many were new."""
        new = frozenset(map(str, ids)) - self.revoked
        if new:
            self.revoked |= new
            for listener in self._listeners:
                listener(new)
        return len(new)
