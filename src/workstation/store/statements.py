"""Named SQL statements, one file for each noun: `-- name: submit` starts the statement called submit."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Final

_NAME: Final = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


@cache
def load(noun: str) -> MappingProxyType[str, str]:
    """The statements of sql/<noun>.sql by name. A name given twice is a ValueError."""
    text = files(__package__).joinpath("sql", f"{noun}.sql").read_text(encoding="utf-8")
    parts = _NAME.split(text)
    statements: dict[str, str] = {}
    for name, body in zip(parts[1::2], parts[2::2], strict=True):
        if name in statements:
            raise ValueError(f"sql/{noun}.sql names the statement {name} twice; rename one.")
        statements[name] = body.strip().rstrip(";")
    return MappingProxyType(statements)
