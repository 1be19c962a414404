"""`workstation logs`: what the server of this data folder writes about itself."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click

from workstation.cli.exits import Trouble
from workstation.cli.local import find_folder
from workstation.cli.tables import printable
from workstation.cli.times import instant

LOOK_SECONDS: Final = 0.3
_MARKS: Final = {"warning": "yellow", "error": "red", "critical": "red"}


@click.command()
@click.option("-f", "--follow", is_flag=True, help="Go on with every new line.")
@click.option("-n", "--lines", type=click.IntRange(1), default=50, show_default=True, metavar="N", help="The last N.")
@click.option("--raw", is_flag=True, help="The lines as they are kept: one JSON object each.")
def logs(follow: bool, lines: int, raw: bool) -> None:
    """Print the server's own log. What agents write: workstation agents logs AGENT."""
    folder = find_folder()
    if folder is None or not folder.server_log.exists():
        raise Trouble("There is no server log in this data folder: `workstation up` begins one.", 5)
    for line in _read(folder.server_log, lines, follow):
        click.echo(line if raw else readable(line))


def readable(line: str) -> str:
    """Return a log line for people: time, level where it matters, event, and the rest as name=value."""
    try:
        told = json.loads(line)
    except ValueError:
        return printable(line)
    if not isinstance(told, dict):
        return printable(line)
    at, level, event = instant(told.pop("timestamp", None)), told.pop("level", "info"), told.pop("event", "")
    when = f"{at.astimezone():%H:%M:%S}" if at else ""
    colour = _MARKS.get(level)
    word = f"{click.style(level, fg=colour)} " if colour else ""
    rest = " ".join(f"{name}={value}" for name, value in told.items() if name != "exception")
    return f"{when} {word}{printable(str(event))}  {printable(rest)}".rstrip()


def _read(path: Path, lines: int, follow: bool) -> Iterator[str]:
    from workstation.runtimes.log_files import tail

    position = path.stat().st_size
    yield from tail(path, lines)
    rest = b""
    while follow:
        sys.stdout.flush()
        time.sleep(LOOK_SECONDS)
        position, fresh = _fresh(path, position)
        *whole, rest = (rest + fresh).split(b"\n")
        yield from (line.decode(errors="replace") for line in whole)


def _fresh(path: Path, position: int) -> tuple[int, bytes]:
    """What was added since `position`; a log that is shorter now was begun anew."""
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return 0, b""
    start = position if size >= position else 0
    with path.open("rb") as file:
        file.seek(start)
        data = file.read()
    return start + len(data), data
