"""What `workstation doctor` checks: the machine, and the fleet behind the API."""

from __future__ import annotations

from typing import Final, NamedTuple

GOOD: Final = "✓"
LOOK: Final = "!"
BROKEN: Final = "✗"


class Finding(NamedTuple):
    """What a check found: ✓ good, ! look at it, ✗ broken; one sentence that says what to do."""

    mark: str
    subject: str
    message: str
