"""The reference page of the command line, written from its commands: `python -m workstation.cli.reference`."""

from __future__ import annotations

from collections.abc import Iterator

import click

from workstation.cli.exits import EXIT_CODES
from workstation.cli.program import program

_HEAD = """\
# The command line

Written by `python -m workstation.cli.reference > docs/cli.md`; a test compares the two.

Nouns, then verbs. Data goes to standard output, progress and errors to standard error, so a pipe gets data alone.

- **Which server**: `WORKSTATION_URL` and `WORKSTATION_TOKEN`, or else the server that runs on the data folder
  (`WORKSTATION_DATA_DIR`, by default `~/.local/share/workstation`), for which `workstation up` has logged you in.
- **Output**: `-o table` is for people, `-o json` is the API's data, `-o jsonl` the same, one document a line. Lists are
  JSON arrays. Colours are left out where the output is no terminal, or `NO_COLOR` is set.
- **Names**: agents are named or numbered, tasks are numbered.
- **Durations** are written `90s`, `15m`, `1h30m` or `30d`; a bare number is seconds.
- **Completion**: `eval "$(workstation completion bash)"` completes commands, options and the names of agents.
"""


def page() -> str:
    """Return the whole page as Markdown."""
    with click.Context(program, info_name="workstation") as ctx:
        lines = [_HEAD, *_exit_codes(), *_commands(ctx)]
    return "\n".join(lines) + "\n"


def _exit_codes() -> Iterator[str]:
    yield "## Exit codes"
    yield ""
    yield "| code | meaning |"
    yield "|---|---|"
    yield from (f"| {code} | {meaning} |" for code, meaning in EXIT_CODES.items())


def _commands(ctx: click.Context) -> Iterator[str]:
    group = ctx.command
    assert isinstance(group, click.Group)
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        assert command is not None
        with click.Context(command, info_name=name, parent=ctx) as inner:
            if isinstance(command, click.Group):
                yield from ("", f"## {inner.command_path}", "", _text(command))
                yield from _commands(inner)
            else:
                yield from _one(inner, "##" if ctx.parent is None else "###")


def _one(ctx: click.Context, level: str) -> Iterator[str]:
    usage = " ".join(ctx.command.collect_usage_pieces(ctx))
    yield from ("", f"{level} {ctx.command_path}", "", f"```\n{ctx.command_path} {usage}\n```", "", _text(ctx.command))
    options = [option for option in ctx.command.get_params(ctx) if isinstance(option, click.Option)]
    records = [record for option in options if (record := option.get_help_record(ctx)) and "--help" not in option.opts]
    if records:
        yield from ("", "| option | |", "|---|---|")
        yield from (f"| `{_cell(names)}` | {_cell(meaning)} |" for names, meaning in records)


def _text(command: click.Command) -> str:
    return "\n".join(line.strip() for line in (command.help or "").strip().splitlines())


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("  [", " [")


if __name__ == "__main__":
    click.echo(page(), nl=False)
