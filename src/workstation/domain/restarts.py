"""When an agent that failed is started again, and when it is given up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """How often a crashed agent is started again, and how long things may take."""

    most_starts: int = 5
    window: timedelta = timedelta(minutes=10)
    backoff_base: timedelta = timedelta(seconds=1)
    backoff_cap: timedelta = timedelta(minutes=1)
    hello_within: timedelta = timedelta(seconds=30)
    silent_for: timedelta = timedelta(seconds=45)
    unhealthy_for: timedelta = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Retry:
    """It failed: error now, started again from next_start_at on."""

    reason: str
    next_start_at: datetime


@dataclass(frozen=True, slots=True)
class GiveUp:
    """It failed too often: stopped, until somebody orders otherwise."""

    reason: str


def after_failure(starts: Sequence[datetime], now: datetime, reason: str, policy: RestartPolicy) -> Retry | GiveUp:
    """A start or a copy failed: try again after a backoff, or give up when it was tried too often lately."""
    recent = [start for start in starts if now - start < policy.window]
    if len(recent) >= policy.most_starts:
        minutes = policy.window.total_seconds() / 60
        return GiveUp(f"given up after {len(recent)} starts in {minutes:.0f} minutes: {reason}")
    doublings = min(max(len(recent) - 1, 0), 16)
    delay = min(policy.backoff_base * 2**doublings, policy.backoff_cap)
    return Retry(reason, now + delay)
