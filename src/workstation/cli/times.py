"""Durations and instants as people write and read them, and the command line's one clock."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from workstation.domain.words import in_words

_UNITS: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhdw])")


def now() -> datetime:
    """Return this instant, in UTC."""
    return datetime.now(UTC)


def parse_duration(text: str) -> timedelta:
    """Return the duration of `90`, `90s`, `1h30m`, `30d`; a bare number is seconds. Raises ValueError."""
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return timedelta(seconds=float(text))
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"{text!r} is not a duration: write 90s, 15m, 1h30m or 30d")
    return timedelta(seconds=sum(float(number) * _UNITS[unit] for number, unit in parts))


def parse_instant(text: str) -> datetime:
    """Return the instant of `2026-08-02T10:00:00Z`, or of `+15m` from now; without an offset it is local time.

    Raises ValueError.
    """
    if text.startswith("+"):
        return now() + parse_duration(text[1:])
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        raise ValueError(f"{text!r} is not a time: write 2026-08-02T10:00:00Z or +15m") from None


def stopwatch(span: timedelta) -> str:
    """Return a span as a running clock shows it: 00:04, 1:02:03."""
    whole = max(int(span.total_seconds()), 0)
    clock = f"{whole % 3600 // 60:02d}:{whole % 60:02d}"
    return f"{whole // 3600}:{clock}" if whole >= 3600 else clock


def instant(text: str | None) -> datetime | None:
    """Return the instant the server wrote, or None."""
    return None if text is None else datetime.fromisoformat(text)


def age(text: str | None) -> str:
    """Return how long ago that was, in the largest unit: 5s, 4m, 3h, 12d; empty for None."""
    at = instant(text)
    if at is None:
        return ""
    seconds = max(int((now() - at).total_seconds()), 0)
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def local(text: str | None) -> str:
    """Return an instant in this machine's time zone with its age: `2026-08-02 10:00:00 (4m ago)`; empty for None."""
    at = instant(text)
    if at is None:
        return ""
    when = f"{at.astimezone():%Y-%m-%d %H:%M:%S}"
    return f"{when} ({age(text)} ago)" if at <= now() else f"{when} (in {in_words(at - now())})"
