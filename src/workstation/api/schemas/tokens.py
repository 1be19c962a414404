"""Tokens on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from workstation.api.schemas.common import Id, PageLimit
from workstation.store.tokens import TokenRow

RoleName = Literal["admin", "operator", "user", "viewer", "agent"]

# Microseconds and the id of the last token of the page.
_CURSOR = "^[0-9]{1,17}\\.[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"


class IssueToken(msgspec.Struct, frozen=True, kw_only=True):
    """The token somebody shall have. Role agent needs agentId."""

    role: RoleName
    subject: Annotated[str, Meta(min_length=1, max_length=255, pattern="^(?!agent:)")] | None = None
    agent_id: Id | None = msgspec.field(name="agentId", default=None)
    expires_in_seconds: Annotated[int, Meta(ge=1, le=315_360_000)] = 2_592_000


class TokensQuery(msgspec.Struct, frozen=True, kw_only=True):
    """A page of tokens."""

    limit: PageLimit = 50
    cursor: Annotated[str, Meta(pattern=_CURSOR, description="`next` of the page before")] | None = None
    ended: Annotated[bool, Meta(description="Expired and revoked ones too")] = False


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """An issued token: all of it but its text."""

    id: str
    subject: str
    role: RoleName
    agent_id: str | None
    created_by: str | None
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None


class TokenPage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens, newest first; next is the cursor of the page that follows, null at the end."""

    tokens: list[Token]
    next: str | None


class IssuedToken(msgspec.Struct, frozen=True, kw_only=True):
    """A new token. Its text is shown this once."""

    token: str
    id: str
    subject: str
    role: RoleName
    agent_id: str | None
    expires_at: datetime


def token(row: TokenRow) -> Token:
    """A row as it is shown."""
    return Token(
        id=str(row.id),
        subject=row.subject,
        role=row.role,  # type: ignore[arg-type]  # the database knows no other words
        agent_id=None if row.agent_id is None else str(row.agent_id),
        created_by=row.created_by,
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
    )
