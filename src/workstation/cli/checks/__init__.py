"""What `workstation doctor` checks: the machine, and the fleet behind the API."""

from __future__ import annotations

from typing import Final, NamedTuple

OK: Final = "ok"
WARNING: Final = "warning"
PROBLEM: Final = "problem"


class Finding(NamedTuple):
    """What a check found: ok, warning or problem; one sentence that says what is wrong and what to do."""

    level: str
    subject: str
    message: str
