"""How often somebody may ask: a bucket for each token, and one for each address without a token."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Final

from workstation.api.errors import Headers
from workstation.domain.buckets import (
    Bucket,
    Limit,
    full,
    seconds_until_full,
    seconds_until_one,
    take,
)
from workstation.domain.errors import RateLimited

PER_TOKEN: Final = Limit(rate=1000.0, burst=5000)
PER_ADDRESS: Final = Limit(rate=1.0, burst=60)
MAX_BUCKETS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Limits:
    """What a token may do, and what an address without one."""

    per_token: Limit = PER_TOKEN
    per_address: Limit = PER_ADDRESS


class RateLimiter:
    """Buckets of one kind by key. Beyond 10,000 keys the one that asked longest ago is forgotten."""

    def __init__(self, limit: Limit, monotonic: Callable[[], float]) -> None:
        self._limit = limit
        self._monotonic = monotonic
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()
        self._limit_header = (b"ratelimit-limit", str(limit.burst).encode())

    def take(self, key: str, headers: Headers) -> None:
        """Take one request from the bucket of key and add the RateLimit headers. Raises RateLimited."""
        now = self._monotonic()
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._new(key, now)
        else:
            self._buckets.move_to_end(key)
        granted = take(self._limit, bucket, now)
        headers.append(self._limit_header)
        headers.append((b"ratelimit-remaining", b"%d" % bucket.tokens))
        headers.append((b"ratelimit-reset", b"%d" % seconds_until_full(self._limit, bucket)))
        if not granted:
            wait = seconds_until_one(self._limit, bucket)
            raise RateLimited(f"Too many requests; try again in {wait} s.", retry_after_seconds=wait)

    def _new(self, key: str, now: float) -> Bucket:
        if len(self._buckets) >= MAX_BUCKETS:
            self._buckets.popitem(last=False)
        bucket = self._buckets[key] = full(self._limit, now)
        return bucket


def address_key(host: str) -> str:
    """What counts as one address: an IPv4 address, or the /64 a customer of IPv6 is given."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, IPv6Address) and address.ipv4_mapped is None:
        return str(int(address) >> 64)
    return str(getattr(address, "ipv4_mapped", None) or address)
