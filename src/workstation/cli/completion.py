"""`workstation completion`: the shell completes commands, options and the names of agents."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from workstation.cli.exits import Trouble


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script of a shell.

    For bash: eval "$(workstation completion bash)" in ~/.bashrc; likewise for zsh in ~/.zshrc, and
    `workstation completion fish | source` in ~/.config/fish/config.fish.
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise Trouble(f"There is no completion for {shell}.")
    click.echo(kind(ctx.find_root().command, {}, "workstation", "_WORKSTATION_COMPLETE").source())
