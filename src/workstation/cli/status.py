"""`workstation status`: whether a server answers, and what it has in hand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from workstation.cli.connection import connect, get
from workstation.cli.exits import UNREACHABLE, Trouble
from workstation.cli.local import find_holder
from workstation.cli.output import Output, output_option
from workstation.cli.tables import card
from workstation_sdk.environment import data_folder, find_server, names_server
from workstation_sdk.errors import Misconfigured, Unavailable


@click.command()
@output_option
def status(output: Output) -> None:
    """Show what the server has in hand. Exits with 7 where none answers."""
    show_status(output)


def show_status(output: Output) -> None:
    """Show what `find_status` finds."""
    found = find_status()
    output.show_one(found, lambda: _lines(found))


def find_status() -> dict[str, Any]:
    """Return address, process (None for one elsewhere), readiness and overview; raises where no server answers."""
    try:
        server = find_server()
    except Misconfigured:
        if names_server() or find_holder() is not None:
            raise
        raise Trouble(f"Nothing runs on {data_folder()}: `workstation up` starts it.", UNREACHABLE) from None
    with connect() as client:
        not_ready = None
        try:
            client.call("GET", "/ready", tries=1)
        except Unavailable as unavailable:
            not_ready = unavailable.message
        overview = None if not_ready else get(client, "/api/agents/system/overview", tries=1)
    return {
        "url": server.urls,
        "process": _process(server.urls),
        "ready": not_ready is None,
        "not_ready": not_ready,
        "data_folder": str(data_folder()),
        "overview": overview,
    }


def _process(url: str) -> int | None:
    holder = find_holder()
    return holder.pid if holder is not None and holder.url == url else None


def _lines(found: dict[str, Any]) -> Iterator[str]:
    mark = click.style("✓", fg="green") if found["ready"] else click.style("!", fg="yellow")
    process = f" (process {found['process']})" if found["process"] else ""
    yield f"{mark} {'ready' if found['ready'] else 'not ready'} at {found['url']}{process}"
    yield from card([("why", found["not_ready"]), *_counts(found["overview"] or {})])


def _counts(overview: dict[str, Any]) -> list[tuple[str, object]]:
    if not overview:
        return []
    health = ", ".join(f"{overview[f'{word}Agents']} {word}" for word in ("healthy", "degraded", "unhealthy"))
    return [
        ("agents", f"{overview['runningAgents']} running ({health}), {overview['stoppedAgents']} stopped"),
        ("MCP servers", overview["mcpContainers"] or None),
        ("tasks", f"{overview['pendingTasks']} pending"),
    ]
