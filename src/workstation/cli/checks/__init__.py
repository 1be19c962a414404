"""What `workstation doctor` checks: the machine, and the fleet behind the API."""

from __future__ import annotations

from typing import Final, NamedTuple

GOOD: Final = "good"
LOOK: Final = "look"
BROKEN: Final = "broken"


class Finding(NamedTuple):
    """What a check found: good, look (at it) or broken; one sentence that says what to do."""

    state: str
    subject: str
    message: str
