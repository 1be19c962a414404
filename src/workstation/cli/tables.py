"""Plain tables: columns that fit the terminal, and letters that cannot steer it."""

from __future__ import annotations

import shutil
import sys
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import click

Item = Mapping[str, Any]

PIPE_WIDTH: Final = 80
NARROWEST: Final = 8
GAP: Final = "  "

_COLOURS: Final = {
    "running": "green",
    "completed": "green",
    "healthy": "green",
    "starting": "cyan",
    "pending": "cyan",
    "waiting": "cyan",
    "stopping": "yellow",
    "degraded": "yellow",
    "released": "yellow",
    "lost": "yellow",
    "failed": "red",
    "timed_out": "red",
    "error": "red",
    "unhealthy": "red",
    "cancelled": "bright_black",
    "stopped": "bright_black",
    "unknown": "bright_black",
}


class Column(NamedTuple):
    """A heading and how its cell is read from an item; an elastic column is cut where the line is too long."""

    heading: str
    read: Callable[[Item], object]
    elastic: bool = False


def field(heading: str, name: str, *, elastic: bool = False) -> Column:
    """Return the column of one field as it is; None is empty, a list is its words."""
    return Column(heading, lambda item: _text(item.get(name)), elastic)


def table(items: Sequence[Item], columns: Sequence[Column], width: int | None = None) -> list[str]:
    """Return the lines of a table with headings, at most `width` columns wide where elastic ones can give way."""
    rows = [[printable(_text(column.read(item))) for column in columns] for item in items]
    headings = [column.heading for column in columns]
    widths = [max(cells(row[index]) for row in [headings, *rows]) for index in range(len(columns))]
    _squeeze(widths, columns, (width or line_width()) - len(GAP) * (len(columns) - 1))
    lines = [click.style(_line(headings, widths, coloured=False), bold=True)]
    return lines + [_line(row, widths, coloured=True) for row in rows]


def card(pairs: Sequence[tuple[str, object]]) -> list[str]:
    """Return one line for each name and value; those without a value are left out."""
    shown = [(name, printable(_text(value))) for name, value in pairs if value not in (None, "", [], {})]
    longest = max((cells(name) for name, _ in shown), default=0)
    return [f"{click.style(name.ljust(longest), bold=True)}{GAP}{_coloured(value, value)}" for name, value in shown]


def line_width() -> int:
    """Return how long a line may be: the terminal's width, or 80 where the output is no terminal."""
    return shutil.get_terminal_size((PIPE_WIDTH, 24)).columns if sys.stdout.isatty() else PIPE_WIDTH


def printable(text: str) -> str:
    """Return text on one line, without the control characters that could steer a terminal."""
    return "".join(" " if letter in "\n\t" else letter for letter in text if letter in "\n\t" or _is_harmless(letter))


def cells(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def cut(text: str, width: int) -> str:
    """Return a text that takes at most `width` columns; an ellipsis stands for what is left out."""
    if cells(text) <= width:
        return text
    while text and cells(text) >= width:
        text = text[:-1]
    return text + "…"


def _is_harmless(letter: str) -> bool:
    return unicodedata.category(letter) not in ("Cc", "Cf", "Cs", "Zl", "Zp")


def _squeeze(widths: list[int], columns: Sequence[Column], room: int) -> None:
    elastic = [index for index, column in enumerate(columns) if column.elastic]
    while sum(widths) > room:
        index = max(elastic, key=lambda index: widths[index], default=None)
        if index is None or widths[index] <= NARROWEST:
            return
        widths[index] -= 1


def _line(cells_of_row: Sequence[str], widths: Sequence[int], *, coloured: bool) -> str:
    shown = []
    for text, width in zip(cells_of_row, widths, strict=True):
        fitted = cut(text, width)
        padded = fitted + " " * (width - cells(fitted))
        shown.append(_coloured(text, padded) if coloured else padded)
    return GAP.join(shown).rstrip()


def _coloured(word: str, shown: str) -> str:
    colour = _COLOURS.get(word)
    return click.style(shown, fg=colour) if colour else shown


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(str(part) for part in value)
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
