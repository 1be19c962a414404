"""How long history is kept."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Retention:
    """How long after its end each kind of thing is kept. What is pending or running is kept whatever its age."""

    tasks: timedelta = timedelta(days=30)
    attempts: timedelta = timedelta(days=31)
    events: timedelta = timedelta(days=7)
    audit: timedelta = timedelta(days=365)
    instances: timedelta = timedelta(days=7)
