"""Token buckets: a pure limit on how often something may happen. Time is passed in."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil


@dataclass(frozen=True, slots=True)
class Limit:
    """rate tokens come back each second, up to burst of them."""

    rate: float
    burst: int


@dataclass(slots=True)
class Bucket:
    """How many tokens are left, as of an instant in seconds."""

    tokens: float
    at: float


def full(limit: Limit, now: float) -> Bucket:
    """A bucket nobody has taken from."""
    return Bucket(float(limit.burst), now)


def take(limit: Limit, bucket: Bucket, now: float) -> bool:
    """Take one token if there is one. Time that goes backwards adds nothing."""
    if now > bucket.at:
        bucket.tokens = min(float(limit.burst), bucket.tokens + (now - bucket.at) * limit.rate)
        bucket.at = now
    if bucket.tokens < 1.0:
        return False
    bucket.tokens -= 1.0
    return True


def seconds_until_one(limit: Limit, bucket: Bucket) -> int:
    """Whole seconds until the next token is there, at least 1."""
    return max(1, ceil((1.0 - bucket.tokens) / limit.rate))


def seconds_until_full(limit: Limit, bucket: Bucket) -> int:
    """Whole seconds until nothing is missing."""
    return ceil((limit.burst - bucket.tokens) / limit.rate)
