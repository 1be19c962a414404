"""The one home of the clock; inside an event loop its own `loop.time()` serves."""

import time


def monotonic() -> float:
    """Return seconds of a clock that never goes back."""
    return time.monotonic()
