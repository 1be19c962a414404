"""The way to the server, by the SDK."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workstation_sdk import Client


@contextmanager
def connect() -> Iterator[Client]:
    """Yield a client of the server that the environment or the data folder names; raises Misconfigured."""
    from workstation_sdk import Client  # Slow to import, and not every command needs it.

    with Client() as client:
        yield client


def get(client: Client, path: str, query: Mapping[str, object] | None = None, *, tries: int = 2) -> Any:
    """Return the data of a GET as JSON values; what is None in the query is left out."""
    given = {name: _text(value) for name, value in (query or {}).items() if value is not None}
    return client.call("GET", path, query=given, tries=tries)


def pages(client: Client, path: str, noun: str, limit: int, query: Mapping[str, object]) -> list[Any]:
    """Return up to `limit` items of a paged list, page after page; `noun` is the field that has them."""
    found: list[Any] = []
    cursor = None
    while len(found) < limit:
        page = get(client, path, {**query, "limit": min(limit - len(found), 200), "cursor": cursor})
        found += page[noun]
        cursor = page.get("next")
        if cursor is None:
            break
    return found


def agent_path(client: Client, agent: str) -> str:
    """Return the path of an agent that is named or numbered; raises NotFound."""
    return f"/api/agents/{client.agents.number(agent)}"


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
