"""Tokens in the database: who was given what, and what was taken back. Secrets are never stored."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from workstation.store.database import Connection
from workstation.store.statements import load

_SQL = load("tokens")


@dataclass(frozen=True, slots=True)
class TokenRow:
    """One issued token."""

    id: UUID
    subject: str
    role: str
    agent_id: int | None
    launch_id: UUID | None
    created_by: str | None
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token to be written down; lifetime counts from the database's now."""

    id: UUID
    subject: str
    role: str
    lifetime: timedelta
    agent_id: int | None = None
    launch_id: UUID | None = None
    created_by: str | None = None


async def issue(connection: Connection, token: NewToken) -> TokenRow:
    """Write a token down with its event. Raises DataRefused when its agent does not exist."""
    row = await connection.fetchrow(
        _SQL["issue"],
        token.id,
        token.subject,
        token.role,
        token.agent_id,
        token.launch_id,
        token.created_by,
        token.lifetime,
    )
    return TokenRow(*(row or ()))


async def revoke(connection: Connection, token_id: UUID, actor: str) -> bool:
    """Take a token back with its event; false when there is no such token. Doing it again is no error."""
    return bool(await connection.fetchval(_SQL["revoke"], token_id, actor))


async def revoke_for_launch(connection: Connection, launch_id: UUID, actor: str) -> list[UUID]:
    """Take back every token of one launch; returns those that were still good."""
    return [row["id"] for row in await connection.fetch(_SQL["revoke_for_launch"], launch_id, actor)]


async def list_tokens(
    connection: Connection, before: tuple[datetime, UUID] | None, *, ended: bool, limit: int
) -> list[TokenRow]:
    """Newest first, below the cursor; ended ones (expired or revoked) only on request."""
    at, token_id = before if before is not None else (None, None)
    rows = await connection.fetch(_SQL["list_tokens"], at, token_id, ended, limit)
    return [TokenRow(*row) for row in rows]


async def list_revoked(connection: Connection, since: datetime | None) -> tuple[frozenset[UUID], datetime | None]:
    """Unexpired tokens revoked since an instant of the database (None: ever), and the instant of this answer."""
    rows = await connection.fetch(_SQL["list_revoked"], since)
    return frozenset(row["id"] for row in rows), (rows[0]["read_at"] if rows else since)
