"""Buckets and who shares one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workstation.api.errors import Headers
from workstation.api.limits import MAX_BUCKETS, RateLimiter, address_key
from workstation.domain.buckets import Limit, full, seconds_until_full, seconds_until_one, take
from workstation.domain.errors import RateLimited

LIMIT = Limit(rate=10.0, burst=20)


@given(st.lists(st.floats(0, 5), min_size=1, max_size=200))
def test_no_more_is_granted_than_the_burst_and_what_came_back(pauses: list[float]) -> None:
    now, granted = 100.0, 0
    bucket = full(LIMIT, now)
    for pause in pauses:
        now += pause
        granted += take(LIMIT, bucket, now)
    assert granted <= LIMIT.burst + sum(pauses) * LIMIT.rate + 1e-6


@given(st.lists(st.floats(-5, 5), max_size=50))
def test_a_clock_that_goes_back_adds_nothing(steps: list[float]) -> None:
    now = 100.0
    bucket = full(LIMIT, now)
    while take(LIMIT, bucket, now):
        pass
    assert not any(take(LIMIT, bucket, now - abs(step)) for step in steps)


def test_waiting_as_long_as_told_is_enough() -> None:
    bucket = full(LIMIT, 0.0)
    while take(LIMIT, bucket, 0.0):
        pass
    assert seconds_until_one(LIMIT, bucket) == 1 and seconds_until_full(LIMIT, bucket) == 2
    assert take(LIMIT, bucket, 1.0)
    assert seconds_until_full(LIMIT, full(LIMIT, 0.0)) == 0


def test_each_key_has_a_bucket_and_the_oldest_is_forgotten() -> None:
    now = [0.0]
    limiter = RateLimiter(Limit(1.0, 1), lambda: now[0])
    headers: Headers = []
    limiter.take("a", headers)
    limiter.take("b", headers)
    with pytest.raises(RateLimited) as refused:
        limiter.take("a", headers)
    assert refused.value.retry_after_seconds == 1
    for number in range(MAX_BUCKETS):
        limiter.take(str(number), [])
    limiter.take("b", headers)


@pytest.mark.parametrize(
    ("one", "two", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("local", "local", True),
    ],
)
def test_who_counts_as_one_address(one: str, two: str, same: bool) -> None:
    assert (address_key(one) == address_key(two)) == same
