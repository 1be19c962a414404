"""`workstation token`: who may talk to the server. For admins."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import click

from workstation.cli.bulk import each
from workstation.cli.connection import connect, pages
from workstation.cli.names import AgentName, Noun
from workstation.cli.output import Output, output_option
from workstation.cli.tables import Column, Item, field
from workstation.cli.times import age, instant, now
from workstation.cli.values import Duration

ROLES: Final = ("admin", "operator", "user", "viewer", "agent")

COLUMNS: Final = (
    field("ID", "id"),
    field("ROLE", "role"),
    field("SUBJECT", "subject", elastic=True),
    field("AGENT", "agent_id"),
    Column("AGE", lambda token: age(token.get("created_at"))),
    Column("ENDS", lambda token: _end(token)),
)


@click.group(cls=Noun)
def token() -> None:
    """Make, list and revoke tokens."""


@token.command("create")
@click.option("--role", type=click.Choice(ROLES), required=True, help="What it may do.")
@click.option("--subject", metavar="NAME", help="Whose it is.")
@click.option("--agent", type=AgentName(), metavar="AGENT", help="The agent a token of role agent stands for.")
@click.option("--expires", type=Duration(), metavar="TIME", help="How long it is good: 12h, 90d.  [default: 30d]")
@output_option
def create(output: Output, role: str, subject: str | None, agent: str | None, expires: timedelta | None) -> None:
    """Print a new token, alone, on standard output. It is shown this once."""
    if (role == "agent") != (agent is not None):
        raise click.UsageError("--role agent and --agent AGENT go together.")
    wish: dict[str, object] = {"role": role}
    if subject is not None:
        wish["subject"] = subject
    if expires is not None:
        wish["expires_in_seconds"] = int(expires.total_seconds())
    with connect() as client:
        if agent is not None:
            wish["agentId"] = client.agents.number(agent)
        made = client.call("POST", "/api/tokens", body=wish)
    output.show_one(made, lambda: [made["token"]])


@token.command("list")
@click.option("--ended", is_flag=True, help="Expired and revoked ones too.")
@click.option("-n", "--limit", type=click.IntRange(1), default=50, show_default=True, metavar="N", help="The newest N.")
@output_option
def list_tokens(output: Output, ended: bool, limit: int) -> None:
    """List tokens, newest first, without their secrets."""
    with connect() as client:
        found = pages(client, "/api/tokens", "tokens", limit, {"ended": ended or None})
    output.show_list(found, COLUMNS, "No tokens were made.")


@token.command("revoke")
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
def revoke(ids: tuple[str, ...]) -> None:
    """Take tokens back, by the ids that `token list` shows. Everybody refuses them within 5 seconds."""

    def verb(token_id: str) -> str:
        client.tokens.revoke(token_id)
        return f"token {token_id} revoked"

    with connect() as client:
        each(ids, verb)


def _end(token: Item) -> str:
    if token.get("revoked_at"):
        return "revoked"
    ends = instant(token.get("expires_at"))
    if ends is None:
        return "never"
    if ends <= now():
        return "expired"
    return f"in {(ends - now()).days}d" if (ends - now()).days else "today"
