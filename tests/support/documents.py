"""The documents of the repository, read the way a test needs them."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]


@cache
def tracked_files() -> tuple[Path, ...]:
    """Every file git knows or would add, relative to the root; ignored files are not among them."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return tuple(Path(line) for line in listed.stdout.splitlines() if (ROOT / line).is_file())


def pages() -> list[Path]:
    """Every Markdown document, relative to the root."""
    return [path for path in tracked_files() if path.suffix == ".md"]


def text_of(path: str | Path) -> str:
    """The text of a file, by its path from the root."""
    return (ROOT / path).read_text(encoding="utf-8")


def table_rows(text: str, heading: str) -> list[list[str]]:
    """The cells of every row of the tables with this first heading, without the heading itself."""
    rows: list[list[str]] = []
    inside = False
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")] if line.startswith("|") else []
        if not cells:
            inside = False
        elif cells[0] == heading:
            inside = True
        elif inside and not re.fullmatch(r":?-+:?", cells[0]):
            rows.append(cells)
    return rows


def code_words(text: str) -> list[str]:
    """What stands between single backticks."""
    return re.findall(r"`([^`\n]+)`", text)


class Block(NamedTuple):
    """A fenced block: its info words (language first), its text, and the line it begins at."""

    info: tuple[str, ...]
    text: str
    line: int


def fenced_blocks(text: str) -> Iterator[Block]:
    """Every fenced block of a page, in order."""
    for found in re.finditer(r"^```([^\n]*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield Block(tuple(found[1].split()), found[2], text.count("\n", 0, found.start()) + 1)


@cache
def tree_of(path: str | Path) -> ast.Module:
    """The syntax tree of a Python file."""
    return ast.parse(text_of(path))


@cache
def functions_of(path: str) -> frozenset[str]:
    """The names of the functions a Python file defines."""
    return frozenset(
        node.name for node in ast.walk(tree_of(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )


def what_is_missing(reference: str) -> str | None:
    """What a reference such as `tests/a.py::test_b` or `src/c.py` leads to that is not there; None where all is."""
    path, _, name = reference.partition("::")
    if not (ROOT / path).exists():
        return path
    if name and name not in functions_of(path):
        return reference
    return None
