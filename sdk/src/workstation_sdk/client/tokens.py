"""Verbs about tokens, for admins."""

from datetime import timedelta
from urllib.parse import quote

import msgspec

from workstation_sdk.client.agents import number_of
from workstation_sdk.client.asking import ask
from workstation_sdk.client.envelope import Data, Nothing
from workstation_sdk.client.records import NewToken, TokenPage
from workstation_sdk.client.steps import Request, Talk


def create_token(
    role: str,
    *,
    subject: str | None = None,
    agent: str | int | None = None,
    expires_in: timedelta | None = None,
) -> Talk[NewToken]:
    """Make a token of a role (admin, operator, user, viewer, agent); `agent` binds one of role agent."""
    number = None if agent is None else (yield from number_of(agent))
    fields: dict[str, object] = {"role": role, "subject": subject, "agent_id": number}
    if expires_in is not None:
        fields["expires_in_seconds"] = int(expires_in.total_seconds())
    body = msgspec.json.encode({name: value for name, value in fields.items() if value is not None})
    request = Request("POST", "/api/tokens", body=body, repeatable=False)
    return (yield from ask(request, Data[NewToken])).data


def list_tokens(*, ended: bool = False, limit: int = 50, cursor: str | None = None) -> Talk[TokenPage]:
    """Return a page of tokens, newest first; with `ended` the expired and revoked ones too."""
    query = {"limit": str(limit)}
    if ended:
        query["ended"] = "true"
    if cursor is not None:
        query["cursor"] = cursor
    return (yield from ask(Request("GET", "/api/tokens", query), Data[TokenPage])).data


def revoke_token(token_id: str) -> Talk[None]:
    """Revoke a token; everybody refuses it within seconds."""
    yield from ask(Request("DELETE", f"/api/tokens/{quote(token_id, safe='')}"), Nothing)
