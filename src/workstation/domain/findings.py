"""What an examination finds: a level, what it is about, and a sentence that says what is wrong and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


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


def size_in_words(size: float) -> str:
    """Bytes as people say them: 512 kB, 3.2 GB."""
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
