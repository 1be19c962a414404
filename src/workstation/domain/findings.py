"""What an examination finds: a level, what it is about, and a sentence that says what is wrong and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import PurePath
from typing import Final

GIB: Final = 1024**3
LOW_GIB: Final = 5
LEAST_GIB: Final = 1


class Level(StrEnum):
    """How bad it is: nothing to do, look at it, or act now."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    level: Level
    subject: str
    message: str


@dataclass(frozen=True, slots=True)
class Examined:
    """Everything that was looked at. database_time is the database's clock at the end; None when it did not answer."""

    findings: tuple[Finding, ...]
    database_time: datetime | None = None


def ok(subject: str, message: str) -> Finding:
    """All is well."""
    return Finding(Level.OK, subject, message)


def warning(subject: str, message: str) -> Finding:
    """Somebody should look at it."""
    return Finding(Level.WARNING, subject, message)


def problem(subject: str, message: str) -> Finding:
    """Tasks are lost, late or not done until somebody acts."""
    return Finding(Level.PROBLEM, subject, message)


def room(subject: str, free_bytes: int, folder: PurePath) -> Finding:
    """Whether there is room for what a database writes."""
    free = free_bytes / GIB
    if free < LEAST_GIB:
        message = f"Only {free:.1f} GiB are free at {folder}: free some space; a full disk refuses every task."
        return problem(subject, message)
    if free < LOW_GIB:
        return warning(subject, f"{free:.1f} GiB are free at {folder}: that may not last long.")
    return ok(subject, f"{free:.0f} GiB are free at {folder}.")
