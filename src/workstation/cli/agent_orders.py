"""`workstation agents start | stop | restart`, and removing: orders to one agent or many."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from workstation.cli.bulk import each
from workstation.cli.connection import connect, get
from workstation.cli.names import AgentName
from workstation.cli.output import say

if TYPE_CHECKING:
    from workstation_sdk import Client

Command = TypeVar("Command", bound=Callable[..., Any])


def _targets(command: Command) -> Command:
    """Give a command AGENT…, --all and --no-wait."""
    decorated = click.option("--no-wait", is_flag=True, help="Give the order and go.")(command)
    decorated = click.option("--all", "everyone", is_flag=True, help="All it makes sense for.")(decorated)
    return click.argument("names", nargs=-1, metavar="[AGENT]...", type=AgentName())(decorated)


@click.command("start")
@_targets
def start(names: tuple[str, ...], everyone: bool, no_wait: bool) -> None:
    """Start agents and wait until they run."""
    with connect() as client:
        chosen = _chosen(client, names, everyone, {"stopped", "error"})
        each(chosen, lambda name: client.agents.start(name, wait=not no_wait))


@click.command("stop")
@_targets
@click.option("--force", is_flag=True, help="At once, without finishing what they work on.")
def stop(names: tuple[str, ...], everyone: bool, no_wait: bool, force: bool) -> None:
    """Stop agents: they finish or give back what they work on first."""
    with connect() as client:
        chosen = _chosen(client, names, everyone, {"starting", "running", "error"})
        each(chosen, lambda name: client.agents.stop(name, force=force, wait=not no_wait))


@click.command("restart")
@_targets
def restart(names: tuple[str, ...], everyone: bool, no_wait: bool) -> None:
    """Restart agents."""
    with connect() as client:
        chosen = _chosen(client, names, everyone, {"starting", "running", "error"})
        each(chosen, lambda name: client.agents.restart(name, wait=not no_wait))


COMMANDS: Final = (start, stop, restart)


def remove(client: Client, names: Sequence[str]) -> None:
    """Remove agents and tell of each; raises as `each` does."""

    def verb(name: str) -> str:
        client.agents.remove(name)
        return f"{name} removed"

    each(names, verb)


def _chosen(client: Client, names: Sequence[str], everyone: bool, states: set[str]) -> list[str]:
    if bool(names) == everyone:
        raise click.UsageError("Name the agents, or say --all.")
    if names:
        return list(names)
    found = [agent["name"] for agent in get(client, "/api/agents")["agents"] if agent["status"] in states]
    if not found:
        say("✓", "nothing to do")
    return found
