"""The server itself on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from workstation.domain.findings import Level


class Alive(msgspec.Struct, frozen=True):
    """The process answers."""

    status: str


class Ready(msgspec.Struct, frozen=True):
    """The server takes work."""

    status: str


class FindingItem(msgspec.Struct, frozen=True):
    """One thing that was looked at: how bad it is, and a sentence that says what is wrong and what to do."""

    level: Level
    subject: str
    message: str


class Examination(msgspec.Struct, frozen=True):
    """Everything that was looked at. database_time is the clock by which leases and due times go."""

    findings: list[FindingItem]
    database_time: Annotated[datetime, Meta(description="Null when the database did not answer")] | None
