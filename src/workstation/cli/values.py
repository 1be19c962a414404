"""Values given on the command line: `key=value` pairs, JSON, durations, instants."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from workstation.cli import times

_PAIR: Final = re.compile(r"(?P<key>[^=]*?)(?P<sign>:?=)(?P<value>.*)", re.DOTALL)


def parse_pairs(pairs: Sequence[str]) -> dict[str, Any]:
    """Return the object of `key=text` and `key:=json` arguments; raises click.UsageError for what is neither."""
    found: dict[str, Any] = {}
    for pair in pairs:
        matched = _PAIR.fullmatch(pair)
        if matched is None or not matched["key"]:
            raise click.UsageError(f"{pair!r} is no field: write key=text, or key:=json for numbers and lists.")
        key = matched["key"]
        if key in found:
            raise click.UsageError(f"The field {key!r} is given twice: give it once, as a list with {key}:='[…]'.")
        found[key] = matched["value"] if matched["sign"] == "=" else _json_of(key, matched["value"])
    return found


def _json_of(key: str, text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise click.UsageError(f"The value of {key}:= is not JSON ({error}): plain text goes as {key}=text.") from None


class JsonObject(click.ParamType[dict[str, Any]]):
    """A JSON object, given as it is, as `@file`, or as `-` for standard input."""

    name = "json"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, Any]:
        """Return the object; fails where it is none."""
        if isinstance(value, dict):
            return value
        try:
            found = msgspec.json.decode(self._text(value, param, ctx))
        except msgspec.DecodeError as error:
            self.fail(f"that is not JSON ({error}).", param, ctx)
        if not isinstance(found, dict):
            self.fail("that is JSON, but not an object: it has to look like {…}.", param, ctx)
        return found

    def _text(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> bytes:
        if value == "-":
            return sys.stdin.buffer.read()
        if not value.startswith("@"):
            return value.encode()
        try:
            return Path(value[1:]).read_bytes()
        except OSError as error:
            self.fail(f"{value[1:]} cannot be read ({error.strerror}).", param, ctx)


class Duration(click.ParamType[timedelta]):
    """A duration such as 90s, 15m, 1h30m, 30d; a bare number is seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """Return the duration; fails where it is none."""
        if isinstance(value, timedelta):
            return value
        try:
            return times.parse_duration(value)
        except ValueError as error:
            self.fail(f"{error}.", param, ctx)


class Instant(click.ParamType[datetime]):
    """An instant such as 2026-08-02T10:00:00Z, or +15m from now."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Return the instant; fails where it is none."""
        if isinstance(value, datetime):
            return value
        try:
            return times.parse_instant(value)
        except ValueError as error:
            self.fail(f"{error}.", param, ctx)
