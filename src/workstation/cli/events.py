"""`workstation events`: what has happened, and what happens."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Final

import click

from workstation.cli.connection import connect, get
from workstation.cli.names import Noun
from workstation.cli.output import Output, output_option, print_lines
from workstation.cli.tables import Item, printable
from workstation.cli.times import instant

PAGE: Final = 1000
LOOK_SECONDS: Final = 0.5


@click.group(cls=Noun)
def events() -> None:
    """See what has happened. For admins."""


@events.command("tail")
@click.option("-f", "--follow", is_flag=True, help="Go on with every new event.")
@click.option(
    "-n", "--lines", type=click.IntRange(1, PAGE), default=20, show_default=True, metavar="N", help="The last N."
)
@click.option("--type", "kind", metavar="TYPE", help="Only this type; with a dot at the end, all that begin so: task.")
@click.option("--after", metavar="CURSOR", help="All that came after this cursor, or `start`, instead of the last N.")
@output_option
def tail(output: Output, follow: bool, lines: int, kind: str | None, after: str | None) -> None:
    """Print the last events, oldest first. Each has a cursor to go on from."""
    with connect() as client:
        for event in _events(client, follow, lines, kind, after):
            if output.is_table:
                print_lines(_lines(event))
            else:
                output.show_each([event])


def _events(client: Any, follow: bool, lines: int, kind: str | None, after: str | None) -> Iterator[Item]:
    size = lines if after is None else PAGE
    while True:
        page = get(client, "/api/events", {"limit": size, "cursor": after, "type": kind})
        yield from page["events"]
        more = after is not None and len(page["events"]) == size
        after, size = page["next"], PAGE
        if not more:
            if not follow:
                return
            time.sleep(LOOK_SECONDS)


def _lines(event: Item) -> Iterator[str]:
    at = instant(event["at"])
    assert at is not None
    when = f"{at.astimezone():%H:%M:%S}"
    about = [{"task": event.get("subject")}] if event.get("tasks") is None else event["tasks"]
    for change in about:
        yield printable(f"{when}  {event['type']:<20}  {_about(event, change)}").rstrip()


def _about(event: Item, change: Item) -> str:
    if event.get("tasks") is not None:
        words = [f"task {change['task']}", change.get("type"), change.get("agent") and f"agent {change['agent']}"]
    else:
        words = [change["task"], event.get("actor") and f"by {event['actor']}", _data(event.get("data"))]
    return "  ".join(word for word in words if word)


def _data(data: Any) -> str:
    if not isinstance(data, dict):
        return ""
    return " ".join(f"{name}={value}" for name, value in data.items())
