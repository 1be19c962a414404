"""Tokens: who is given one, and how it is taken back."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID, uuid4

from workstation.domain.errors import FieldProblem, NotFound, ValidationFailed
from workstation.domain.principal import Role
from workstation.services.signing import Grant, SigningKey
from workstation.store import tokens
from workstation.store.database import Connection, Database, DataRefused
from workstation.store.tokens import TokenRow

DEFAULT_LIFETIME: Final = timedelta(days=30)
MIN_LIFETIME: Final = timedelta(seconds=1)
MAX_LIFETIME: Final = timedelta(days=3650)
_RESERVED: Final = "agent:"


@dataclass(frozen=True, slots=True)
class TokenWish:
    """The token somebody asks for. Role agent needs agent_id, and gets its subject from it."""

    role: Role
    subject: str | None = None
    agent_id: int | None = None
    launch_id: UUID | None = None
    lifetime: timedelta = DEFAULT_LIFETIME


@dataclass(frozen=True, slots=True)
class Issued:
    """A new token: its text, shown this once, and what is kept of it."""

    token: str
    row: TokenRow


async def issue(database: Database, key: SigningKey, wish: TokenWish, *, created_by: str) -> Issued:
    """Sign a token and write down that it exists. Raises ValidationFailed, or NotFound for an unknown agent."""
    subject = _checked_subject(wish)
    if not MIN_LIFETIME <= wish.lifetime <= MAX_LIFETIME:
        raise ValidationFailed("A token lives between one second and ten years; choose a lifetime within.")
    new = tokens.NewToken(uuid4(), subject, wish.role.value, wish.lifetime, wish.agent_id, wish.launch_id, created_by)
    try:
        async with database.session("token") as connection:
            row = await tokens.issue(connection, new)
    except DataRefused as refused:
        raise NotFound(f"There is no agent {wish.agent_id}; `workstation agents list` shows them.") from refused
    grant = Grant(row.id, row.subject, wish.role, row.created_at, row.expires_at, row.agent_id)
    return Issued(key.sign(grant), row)


def _checked_subject(wish: TokenWish) -> str:
    if (wish.role is Role.AGENT) != (wish.agent_id is not None):
        problem = FieldProblem("agentId", "is needed for role agent and has no place in a token of another role")
        raise ValidationFailed("A token of role agent names its agent, and no other token does.", (problem,))
    if wish.agent_id is not None:
        return f"{_RESERVED}{wish.agent_id}"
    subject = wish.subject or wish.role.value
    if subject.startswith(_RESERVED) or len(subject) > 255 or "\0" in subject:
        problem = FieldProblem("subject", "is at most 255 characters and does not begin with agent:")
        raise ValidationFailed("That subject cannot be used; choose another name.", (problem,))
    return subject


async def revoke(database: Database, token_id: UUID, *, actor: str) -> None:
    """Take a token back; again is no error. Raises NotFound for a token that was never issued here."""
    async with database.session("token") as connection:
        if not await tokens.revoke(connection, token_id, actor):
            raise NotFound(f"There is no token {token_id}; GET /api/tokens lists them.")


async def revoke_for_launch(connection: Connection, launch_id: UUID, *, actor: str) -> list[UUID]:
    """Take back the tokens of a launch that has ended, inside the caller's transaction."""
    return await tokens.revoke_for_launch(connection, launch_id, actor)


async def list_tokens(
    database: Database, before: tuple[datetime, UUID] | None, *, ended: bool, limit: int
) -> list[TokenRow]:
    """Issued tokens, newest first, below the cursor; ended ones only on request."""
    async with database.session() as connection:
        return await tokens.list_tokens(connection, before, ended=ended, limit=limit)


async def list_revoked(database: Database, since: datetime | None) -> tuple[frozenset[UUID], datetime | None]:
    """Unexpired tokens revoked since an instant of the database (None: ever), and the instant of this answer."""
    async with database.session() as connection:
        return await tokens.list_revoked(connection, since)
