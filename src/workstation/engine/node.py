"""This replica among the others: it says that it lives, and that it signs with the same key."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

from workstation.domain.errors import Refusal
from workstation.store import examination
from workstation.store import nodes as store
from workstation.store.database import Connection, Database
from workstation.telemetry import clock

NODE_LEASE = timedelta(seconds=20)
VERSION = "0.1.0"


class KeyMismatch(Refusal):
    """Another living replica signs with another key: tokens of one would be refused by the other."""

    code = "key_mismatch"


class NodeLease:
    """Enters this replica, keeps its lease, takes it out."""

    def __init__(
        self,
        database: Database,
        node_id: UUID,
        url: str,
        key_fingerprint: str,
        wall: Callable[[], float] = clock.wall,
    ) -> None:
        self._database = database
        self._wall = wall
        self._retired = False
        self._node = store.Node(node_id, VERSION, url, key_fingerprint)

    async def join(self) -> None:
        """Enter this replica; raises KeyMismatch when another one that lives signs with another key."""
        async with self._database.transaction("node") as connection:
            await store.lock_joining(connection)
            others = await store.other_fingerprints(connection, self._node.id)
            if others - {self._node.key_fingerprint}:
                raise KeyMismatch(
                    "Another replica on this database signs its tokens with another key; "
                    "give both the same JWT_SECRET, or the same secret file."
                )
            await store.join(connection, self._node, NODE_LEASE)

    async def renew_once(self) -> int:
        """Say that this replica lives, and what its clock says.

        One that was away for longer than its lease enters again, as at its start.
        """
        if self._retired:
            return 0
        async with self._database.session("node") as connection:
            renewed = await store.renew(connection, self._node.id, NODE_LEASE)
            await self._tell_clock(connection)
        if not renewed:
            await self.join()
        return 0

    async def _tell_clock(self, connection: Connection) -> None:
        asked_at = self._wall()
        there = await examination.clock(connection)
        half = (self._wall() - asked_at) / 2
        ahead = timedelta(seconds=asked_at + half - there.timestamp())
        await store.tell_clock(connection, self._node.id, ahead, timedelta(seconds=half))

    async def retire(self) -> int:
        """Count no more as one that lives, for it goes down; how many others do.

        What it has started stays its own for as long as it needs to stop it.
        """
        self._retired = True
        async with self._database.transaction("node") as connection:
            await store.lock_joining(connection)
            await store.retire(connection, self._node.id)
            return await store.count_others(connection, self._node.id)

    async def leave(self) -> None:
        """Take this replica out."""
        async with self._database.session("node") as connection:
            await store.leave(connection, self._node.id)
