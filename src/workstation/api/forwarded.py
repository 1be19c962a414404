"""Who asks, where a proxy stands between: what X-Forwarded-For says counts only as far as trusted proxies wrote it."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TypeAlias

Network: TypeAlias = IPv4Network | IPv6Network


def client_of(peer: str, forwarded: bytes | None, trusted: tuple[Network, ...]) -> str:
    """The address that asks: the peer, or where that is a trusted proxy, the last in the header that is none."""
    if forwarded is None or not _is_trusted(peer, trusted):
        return peer
    client = peer
    for part in reversed(forwarded.decode("latin-1").split(",")):
        address = part.strip()
        if not _is_address(address):
            return client
        client = address
        if not _is_trusted(address, trusted):
            return client
    return client


def _is_trusted(host: str, trusted: tuple[Network, ...]) -> bool:
    try:
        address = ip_address(host)
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in network for network in trusted)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
