"""The record: append-only JSON lines of everything a client or an agent was told, and of what the nemesis did.

Every process of a run appends to one file. A line is written whole by one call, so it survives a kill of its writer.
`at` is the monotonic clock, which all processes of a machine share; `wall` is the clock that PostgreSQL reads.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Line:
    """One line of the record."""

    at: float
    wall: float
    who: str
    what: str
    about: dict[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Any:
        return self.about[name]


class Recorder:
    """Writes for one party."""

    def __init__(self, path: Path, who: str) -> None:
        self._path = path
        self._who = who

    def __call__(self, what: str, **about: Any) -> None:
        """Append one line."""
        line = {"at": time.monotonic(), "wall": time.time(), "who": self._who, "what": what, **about}
        # Not kept open: the guardian ends whoever has a file in its folder.
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, (json.dumps(line) + "\n").encode())
        finally:
            os.close(descriptor)


def read(path: Path) -> Iterator[Line]:
    """Everything recorded, in the order in which it was written."""
    with path.open() as lines:
        for text in lines:
            line = json.loads(text)
            yield Line(line.pop("at"), line.pop("wall"), line.pop("who"), line.pop("what"), line)
