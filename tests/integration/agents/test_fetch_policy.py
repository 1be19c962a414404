"""Which destinations agents may reach."""

import asyncio
from ipaddress import ip_address

import httpcore
import pytest
from tests.support.websites import Secret

from workstation.agents.fetch import GuardedBackend
from workstation.agents.fetch_policy import (
    FetchPolicy,
    FetchRefused,
    NameNotResolved,
    forbidden_kind,
    parse_allow,
    split_url,
)


@pytest.mark.parametrize(
    "address",
    [
        *(
            "127.0.0.1",
            "127.255.255.254",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
        ),
        *(
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.1",
            "198.18.0.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
        ),
        *(
            "::1",
            "::",
            "fe80::1",
            "fe80::1%lo",
            "fc00::1",
            "fd00:ec2::254",
            "fec0::1",
            "ff02::1",
            "2001:db8::1",
        ),
        *(
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "2002:7f00:1::1",
        ),
    ],
)
def test_an_address_that_is_not_public_is_forbidden(address: str) -> None:
    assert forbidden_kind(ip_address(address)) is not None


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "93.184.215.14", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_a_public_address_is_permitted(address: str) -> None:
    assert forbidden_kind(ip_address(address)) is None


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "LOCALHOST",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "127.1",
        "0",
        "::1",
        "::ffff:7f00:1",
    ],
)
async def test_every_way_to_write_loopback_is_refused_by_name_of_the_setting(host: str) -> None:
    with pytest.raises(FetchRefused, match="WORKSTATION_FETCH_ALLOW") as refusal:
        await FetchPolicy().resolve(host, 80)
    assert refusal.value.retryable is False


async def test_a_name_without_an_address_may_be_tried_again() -> None:
    with pytest.raises(NameNotResolved, match=r"nowhere\.invalid") as failure:
        await FetchPolicy().resolve("nowhere.invalid", 80)
    assert failure.value.retryable is True


@pytest.mark.parametrize(
    ("allow", "host", "port", "permitted"),
    [
        ("127.0.0.1", "127.0.0.1", 80, True),
        ("127.0.0.0/8", "2130706433", 80, True),
        ("10.0.0.0/8, 127.0.0.0/8", "localhost", 80, True),
        ("127.0.0.1:8000", "127.0.0.1", 8000, True),
        ("127.0.0.1:8000", "127.0.0.1", 8001, False),
        ("localhost", "LocalHost", 1, True),
        ("localhost:8000", "localhost", 8001, False),
        ("localhost", "127.0.0.1", 80, False),
        ("[::1]:8000", "::1", 8000, True),
        ("::1", "::1", 9, True),
        ("127.0.0.1", "::ffff:127.0.0.1", 80, True),
        ("10.0.0.0/8", "127.0.0.1", 80, False),
        ("", "127.0.0.1", 80, False),
    ],
)
async def test_an_allowed_destination_and_no_other_is_permitted(
    allow: str, host: str, port: int, permitted: bool
) -> None:
    policy = FetchPolicy(parse_allow(allow))
    if permitted:
        assert await policy.resolve(host, port)
    else:
        with pytest.raises(FetchRefused):
            await policy.resolve(host, port)


@pytest.mark.parametrize("text", ["10.0.0.0/99", "http://host", "1.2.3", "a b", "-x", "host:port"])
def test_an_entry_that_means_nothing_is_an_error_that_shows_it(text: str) -> None:
    with pytest.raises(ValueError, match="WORKSTATION_FETCH_ALLOW has"):
        parse_allow(f"localhost, {text}")


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://host/x", "gopher://host", "//host", "http://", "http://[", "x"]
)
def test_a_url_of_another_kind_is_refused(url: str) -> None:
    with pytest.raises(FetchRefused, match="URL"):
        split_url(url)


class FlippingPolicy(FetchPolicy):
    """A name that is public when it is asked for the first time and loopback afterwards."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    async def resolve(self, host: str, port: int) -> list[str]:
        """A documentation address first (nothing answers there), then loopback."""
        self.asked += 1
        return ["192.0.2.1"] if self.asked == 1 else ["127.0.0.1"]


async def test_the_address_that_was_checked_is_the_one_connected_to(secret: Secret) -> None:
    policy = FlippingPolicy()
    with pytest.raises((httpcore.ConnectError, httpcore.ConnectTimeout)):
        await GuardedBackend(policy).connect_tcp("rebinding.test", secret.port, timeout=0.3)
    await asyncio.sleep(0)
    assert policy.asked == 1
    assert secret.visits == []


async def test_a_socket_file_is_never_a_destination() -> None:
    with pytest.raises(FetchRefused, match="socket file"):
        await GuardedBackend(FetchPolicy()).connect_unix_socket("/run/docker.sock")
