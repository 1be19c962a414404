"""The program: its commands, each imported when it is asked for, and what becomes of errors."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any, Final

import click

from workstation.cli.exits import Stopped, Trouble

COMMANDS: Final = {
    "up": "workstation.cli.up:up",
    "down": "workstation.cli.down:down",
    "status": "workstation.cli.status:status",
    "doctor": "workstation.cli.doctor:doctor",
    "logs": "workstation.cli.server_logs:logs",
    "backup": "workstation.cli.backup:backup",
    "restore": "workstation.cli.backup:restore",
    "agents": "workstation.cli.agents:agents",
    "tasks": "workstation.cli.tasks:tasks",
    "events": "workstation.cli.events:events",
    "token": "workstation.cli.tokens:token",
    "completion": "workstation.cli.completion:completion",
}


class Program(click.Group):
    """A group that imports a command's module when it is asked for, so that each starts fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, in the order in which they are explained."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, or None where there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; what the server refused becomes a sentence and an exit code."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise Stopped from None
        except _refusals() as error:
            raise Trouble(_sentence(error), error.exit_code) from error


def _refusals() -> type[Any]:
    from workstation_sdk.errors import WorkstationError

    return WorkstationError


def _sentence(error: Any) -> str:
    from workstation_sdk.errors import Unauthenticated, Unreachable

    message = str(error.message)
    if isinstance(error, Unreachable):
        message += " `workstation up` starts one on this machine."
    if isinstance(error, Unauthenticated):
        message += " Set WORKSTATION_TOKEN to a token that `workstation token create` printed for you."
    lines = [f"  {detail.field}: {detail.message}" for detail in error.details]
    return "\n".join([message, *lines])


def _print_version(ctx: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"workstation {version('workstation')}")
        ctx.exit()


@click.command(cls=Program, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Print it.")
@click.pass_context
def program(ctx: click.Context) -> None:
    """Run a fleet of AI agents and give them durable tasks.

    `workstation up` starts everything on this machine; all other commands talk to the server at WORKSTATION_URL with
    WORKSTATION_TOKEN, or to the one that runs on the data folder (WORKSTATION_DATA_DIR).
    """
    if os.environ.get("NO_COLOR"):
        ctx.color = False
