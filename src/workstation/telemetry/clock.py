"""The one home of this machine's clocks. What tasks and leases go by is the database's clock, never these."""

from __future__ import annotations

import time


def monotonic() -> float:
    """Seconds that never go back, from an arbitrary start: for limits and waits inside one process."""
    return time.monotonic()


def wall() -> float:
    """Seconds since 1970, as this machine believes: for the expiry of tokens, which others have stamped."""
    return time.time()
