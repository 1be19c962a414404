"""The server itself on the wire."""

from __future__ import annotations

import msgspec


class Alive(msgspec.Struct, frozen=True):
    """The process answers."""

    status: str


class Ready(msgspec.Struct, frozen=True):
    """The server takes work."""

    status: str
