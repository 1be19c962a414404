"""Replicas of the orchestrator. Every function is one named statement of sql/nodes.sql."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from workstation.store.database import Connection
from workstation.store.statements import load

_SQL = load("nodes")


@dataclass(frozen=True, slots=True)
class Node:
    """One replica: its id is kept in its data folder, its key fingerprint tells whether all sign alike."""

    id: UUID
    version: str
    url: str | None
    key_fingerprint: str | None


async def join(connection: Connection, node: Node, lease: timedelta) -> None:
    """Enter a replica, or a later start of it."""
    await connection.execute(_SQL["join"], node.id, node.version, node.url, node.key_fingerprint, lease)


async def lock_joining(connection: Connection) -> None:
    """Let nobody else enter until the end of this transaction."""
    await connection.execute(_SQL["join_lock"])


async def other_fingerprints(connection: Connection, node_id: UUID) -> set[str]:
    """The key fingerprints of the other living replicas."""
    rows = await connection.fetch(_SQL["other_fingerprints"], node_id)
    return {row["key_fingerprint"] for row in rows}


async def renew(connection: Connection, node_id: UUID, lease: timedelta) -> bool:
    """Renew the lease of a replica; false when it had run out, or the replica was forgotten."""
    return await connection.fetchval(_SQL["renew"], node_id, lease) is not None


async def tell_clock(connection: Connection, node_id: UUID, ahead: timedelta, error: timedelta) -> None:
    """Note how far the clock of a replica's machine is ahead of the database's, and how exact that is."""
    ahead_ms, error_ms = (round(span / timedelta(milliseconds=1)) for span in (ahead, error))
    await connection.execute(_SQL["tell_clock"], node_id, ahead_ms, error_ms)


async def retire(connection: Connection, node_id: UUID) -> None:
    """End the lease of a replica now; it is forgotten later."""
    await connection.execute(_SQL["retire"], node_id)


async def leave(connection: Connection, node_id: UUID) -> None:
    """Take a replica out."""
    await connection.execute(_SQL["leave"], node_id)


async def count_others(connection: Connection, node_id: UUID) -> int:
    """How many other replicas live."""
    return int(await connection.fetchval(_SQL["count_others"], node_id))


async def prune(connection: Connection) -> None:
    """Forget replicas that were last alive a day ago."""
    await connection.execute(_SQL["prune"])


async def notify(connection: Connection, channel: str, payload: str) -> None:
    """Send a notification at once, in a transaction of its own."""
    await connection.execute(_SQL["notify"], channel, payload)


async def ping(connection: Connection) -> None:
    """Ask the database whether it is there."""
    await connection.fetchval(_SQL["ping"])
