"""Waiting for something to become so, with a bound."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable


async def until(holds: Callable[[], Awaitable[bool]], within: float, what: str = "it") -> float:
    """Ask again and again until it holds; how many seconds that took. Fails after `within` seconds."""
    began = time.monotonic()
    while not await holds():
        assert time.monotonic() - began < within, f"{what} did not come about within {within:.0f} s"
        await asyncio.sleep(0.05)
    return time.monotonic() - began
