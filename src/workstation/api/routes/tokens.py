"""Tokens: issue, revoke, list. For admins."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from workstation.api import ids
from workstation.api.call import Call, Reply
from workstation.api.routing import Route
from workstation.api.rules import ADMIN
from workstation.api.schemas.common import Data, Done
from workstation.api.schemas.tokens import (
    IssuedToken,
    IssueToken,
    TokenPage,
    TokensQuery,
    token,
)
from workstation.domain.principal import Role
from workstation.services import tokens
from workstation.store.tokens import TokenRow

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


async def list_tokens(call: Call) -> Reply:
    """Issued tokens, newest first."""
    query: TokensQuery = call.query
    before = None if query.cursor is None else _cursor_of(query.cursor)
    rows = await tokens.list_tokens(call.using.database, before, ended=query.ended, limit=query.limit + 1)
    page, rest = rows[: query.limit], rows[query.limit :]
    shown = TokenPage(tokens=[token(row) for row in page], next=_cursor_text(page[-1]) if rest else None)
    return Reply(Data(data=shown))


def _cursor_text(row: TokenRow) -> str:
    return f"{(row.created_at - _EPOCH) // timedelta(microseconds=1)}.{row.id}"


def _cursor_of(text: str) -> tuple[datetime, UUID]:
    at, _, token_id = text.partition(".")
    return _EPOCH + timedelta(microseconds=int(at)), ids.uuid(token_id, "cursor")


async def issue_token(call: Call) -> Reply:
    """Sign a token; its text is in this answer and nowhere else."""
    body: IssueToken = call.body
    agent_id = None if body.agent_id is None else ids.number(body.agent_id, "agentId")
    wish = tokens.TokenWish(Role(body.role), body.subject, agent_id, None, timedelta(seconds=body.expires_in_seconds))
    issued = await tokens.issue(call.using.database, call.using.key, wish, created_by=call.principal.owner)
    row = token(issued.row)
    shown = IssuedToken(
        token=issued.token,
        id=row.id,
        subject=row.subject,
        role=row.role,
        agent_id=row.agent_id,
        expires_at=row.expires_at,
    )
    return Reply(Data(data=shown), 201)


async def revoke_token(call: Call) -> Reply:
    """Take a token back: here at once, on other replicas and their sockets within seconds."""
    token_id = ids.uuid(call.params[0], "id")
    await tokens.revoke(call.using.database, token_id, actor=call.principal.owner)
    call.using.revocations.add([token_id])
    return Reply(Done(message=f"Token {token_id} is revoked"))


ROUTES: Final = (
    Route(
        "GET",
        "/api/tokens",
        list_tokens,
        ADMIN,
        "List issued tokens",
        "tokens",
        {200: Data[TokenPage]},
        query=TokensQuery,
    ),
    Route(
        "POST",
        "/api/tokens",
        issue_token,
        ADMIN,
        "Issue a token",
        "tokens",
        {201: Data[IssuedToken]},
        errors=("not_found",),
        body=IssueToken,
        audit="token.issue",
        body_example={"role": "user", "subject": "alice", "expires_in_seconds": 86400},
    ),
    Route(
        "DELETE",
        "/api/tokens/:id",
        revoke_token,
        ADMIN,
        "Revoke a token",
        "tokens",
        {200: Done},
        errors=("not_found",),
        audit="token.revoke",
    ),
)
