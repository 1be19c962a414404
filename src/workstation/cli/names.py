"""Nouns as groups of verbs, and agents and tasks as arguments: named or numbered, completed in the shell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

Command = TypeVar("Command", bound=Callable[..., Any])


class Noun(click.Group):
    """A group whose verbs are listed in the order in which they were added."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the verbs."""
        return list(self.commands)


class AgentName(click.ParamType[str]):
    """An agent's name or number."""

    name = "agent"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the agents whose names begin so; none where no server answers."""
        from workstation.cli.connection import connect, get
        from workstation_sdk import WorkstationError

        try:
            with connect() as client:
                agents = get(client, "/api/agents", tries=1)["agents"]
        except WorkstationError:
            return []
        return [
            CompletionItem(agent["name"], help=f"{agent['status']}, {agent['type']}")
            for agent in agents
            if agent["name"].startswith(incomplete)
        ]


def agent_argument(command: Command) -> Command:
    """Give a command one AGENT."""
    return click.argument("agent", type=AgentName())(command)


def task_argument(command: Command) -> Command:
    """Give a command one TASK."""
    return click.argument("task", metavar="TASK", type=TaskNumber())(command)


class TaskNumber(click.ParamType[str]):
    """A task's number."""

    name = "task"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the number as text; fails for anything else."""
        if not (value.isascii() and value.isdecimal()):
            self.fail(f"{value!r} is not a task's number: `workstation tasks list` shows them.", param, ctx)
        return str(value)
