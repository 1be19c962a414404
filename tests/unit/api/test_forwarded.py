"""X-Forwarded-For counts as far as trusted proxies wrote it, and not a word further."""

from ipaddress import ip_network

import pytest

from workstation.api.forwarded import client_of

TRUSTED = (ip_network("127.0.0.1"), ip_network("10.0.0.0/8"), ip_network("fd00::/8"))


@pytest.mark.parametrize(
    ("peer", "header", "client"),
    [
        ("203.0.113.9", None, "203.0.113.9"),
        ("203.0.113.9", b"198.51.100.7", "203.0.113.9"),
        ("127.0.0.1", None, "127.0.0.1"),
        ("127.0.0.1", b"198.51.100.7", "198.51.100.7"),
        ("::ffff:127.0.0.1", b"198.51.100.7", "198.51.100.7"),
        ("fd00::1", b"2001:db8::5", "2001:db8::5"),
        ("127.0.0.1", b"1.2.3.4, 198.51.100.7", "198.51.100.7"),
        ("127.0.0.1", b"1.2.3.4, 198.51.100.7, 10.1.1.1", "198.51.100.7"),
        ("127.0.0.1", b"10.9.9.9, 10.1.1.1", "10.9.9.9"),
        ("127.0.0.1", b"198.51.100.7, unknown", "127.0.0.1"),
        ("127.0.0.1", b"198.51.100.7, evil, 10.1.1.1", "10.1.1.1"),
        ("127.0.0.1", b"", "127.0.0.1"),
        ("127.0.0.1", b"\xff\xfe", "127.0.0.1"),
        ("local", b"198.51.100.7", "local"),
    ],
)
def test_the_client_is_the_last_that_no_trusted_proxy_is(peer: str, header: bytes | None, client: str) -> None:
    assert client_of(peer, header, TRUSTED) == client


def test_nobody_is_trusted_unless_told() -> None:
    assert client_of("127.0.0.1", b"198.51.100.7", ()) == "127.0.0.1"
