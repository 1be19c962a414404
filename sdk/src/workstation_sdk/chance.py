"""The one home of randomness: fresh names and jitter."""

import random
import uuid


def new_uuid() -> str:
    """Return a fresh random UUID."""
    return str(uuid.uuid4())


def full_jitter(step: int, *, base: float, cap: float) -> float:
    """Return a random delay in seconds between 0 and `min(base * 2**step, cap)`."""
    return random.uniform(0, min(base * 2.0 ** min(step, 30), cap))  # noqa: S311 - spreads load, guards nothing
