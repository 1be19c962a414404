"""Ids as they come over the wire: decimal strings within bigint, UUIDs, request ids."""

from __future__ import annotations

import re
from typing import Final
from uuid import UUID

from workstation.api.errors import wrong

_MAX: Final = 2**63 - 1
_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._:/+=-]{1,128}")


def number(value: str | int, field: str) -> int:
    """The number of an id. Raises ValidationFailed naming the field."""
    if isinstance(value, str):
        if not (value.isascii() and value.isdigit() and len(value) <= 19):
            raise wrong(field, "must be a decimal number in a string")
        value = int(value)
    if not 0 <= value <= _MAX:
        raise wrong(field, f"must be within 0 and {_MAX}")
    return value


def uuid(value: str, field: str) -> UUID:
    """A UUID in its usual form. Raises ValidationFailed naming the field."""
    try:
        found = UUID(value)
    except ValueError as error:
        raise wrong(field, "must be a UUID") from error
    if str(found) != value.lower():
        raise wrong(field, "must be a UUID in its usual form")
    return found


def request_id(given: bytes | None) -> str | None:
    """A client's own request id where it is a sane one: up to 128 letters, digits and . _ : / + = -."""
    if given is None or _REQUEST_ID.fullmatch(given) is None:
        return None
    return given.decode("ascii")
