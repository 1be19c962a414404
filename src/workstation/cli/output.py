"""What a command shows on stdout: a table for people, JSON for programs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeVar

import click

from workstation.cli.tables import Column, Item, table

FORMATS: Final = ("table", "json", "jsonl")
Command = TypeVar("Command", bound=Callable[..., Any])


def output_option(command: Command) -> Command:
    """Give a command `-o`; it gets an `output` of type Output."""
    return click.option(
        "-o",
        "--output",
        type=click.Choice(FORMATS),
        default="table",
        show_default=True,
        callback=lambda _ctx, _parameter, chosen: Output(chosen),
        help="For people, or the API's data as JSON, or as one JSON document a line.",
    )(command)


class Output:
    """Where data goes: stdout, in the chosen format."""

    def __init__(self, chosen: str) -> None:
        """`chosen` is table, json or jsonl."""
        self._format = chosen

    @property
    def is_table(self) -> bool:
        """Whether people read it."""
        return self._format == "table"

    def show_list(self, items: Sequence[Item], columns: Sequence[Column], nothing: str) -> None:
        """Show items: a table, a JSON array, or a line each. `nothing` is said on stderr when there are none."""
        if self._format == "json":
            print_json(items)
        elif self._format == "jsonl":
            self.show_each(items)
        elif items:
            print_lines(table(items, columns))
        else:
            click.echo(nothing, err=True)

    def show_one(self, item: Any, lines: Callable[[], Iterable[str]]) -> None:
        """Show one thing: the lines made for people, or its JSON."""
        if self.is_table:
            print_lines(lines())
        else:
            print_json(item, indent=2 if self._format == "json" else 0)

    def show_each(self, items: Iterable[Any]) -> None:
        """Show items as they come, one JSON document a line."""
        for item in items:
            print_json(item, indent=0)


def print_json(value: Any, indent: int = 2) -> None:
    """Print a JSON document on stdout; with indent 0 on one line."""
    import msgspec

    document = msgspec.json.encode(value)
    click.echo(msgspec.json.format(document, indent=indent).decode() if indent else document.decode())


def print_lines(lines: Iterable[str]) -> None:
    """Print lines on stdout."""
    for line in lines:
        click.echo(line)


def say(mark: str, sentence: str) -> None:
    """Tell on stderr how it goes: ✓ done, ! look, ✗ failed, … under way."""
    colours = {"✓": "green", "!": "yellow", "✗": "red"}
    click.echo(f"{click.style(mark, fg=colours.get(mark, 'cyan'))} {sentence}", err=True)
