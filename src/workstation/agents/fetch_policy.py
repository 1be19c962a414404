"""Which addresses an agent may connect to: the public ones, and those the operator allows."""

import asyncio
import re
import socket
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

from workstation_sdk import TaskFailed

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# Public by number, yet it answers only from inside an Azure machine, with that machine's secrets.
AZURE_METADATA = IPv4Address("168.63.129.16")
NAT64 = IPv6Network("64:ff9b::/96")
IPV4_COMPATIBLE = IPv6Network("::/96")
HOST_NAME = re.compile(r"(?!-)[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?", re.IGNORECASE)


class FetchRefused(TaskFailed):
    """The destination is one that agents may not reach; trying again does not help."""

    def __init__(self, message: str) -> None:
        super().__init__(message, type="FetchRefused", retryable=False)


class NameNotResolved(TaskFailed):
    """The host's name has no address now; it may have one later."""

    def __init__(self, host: str) -> None:
        super().__init__(f"The host name {host} could not be resolved; check its spelling.", type="NameNotResolved")


@dataclass(frozen=True, slots=True)
class AllowEntry:
    """One word of WORKSTATION_FETCH_ALLOW: a network or a host name, and a port if it has one."""

    network: Network | None
    host: str | None
    port: int | None

    def matches(self, host: str, address: Address, port: int) -> bool:
        """Whether a connection to `address`, asked for as `host`, is what this entry allows."""
        if self.port is not None and self.port != port:
            return False
        if self.network is not None:
            return address.version == self.network.version and address in self.network
        return self.host == host.rstrip(".").lower()


def parse_allow(text: str) -> tuple[AllowEntry, ...]:
    """The entries of a comma list of CIDRs, addresses, hosts, each with an optional :port.

    Raises ValueError with the word that cannot be understood.
    """
    return tuple(_parse_entry(word.strip()) for word in text.split(",") if word.strip())


def _parse_entry(word: str) -> AllowEntry:
    bare, port = _split_port(word)
    network = _parse_network(bare)
    if network is not None:
        return AllowEntry(network, None, port)
    if not HOST_NAME.fullmatch(bare) or bare.replace(".", "").isdigit():
        raise ValueError(
            f"WORKSTATION_FETCH_ALLOW has {word!r}; write CIDRs, addresses or host:port with commas between."
        )
    return AllowEntry(None, bare.rstrip(".").lower(), port)


def _split_port(word: str) -> tuple[str, int | None]:
    bracketed = re.fullmatch(r"\[([^]]+)\](?::(\d{1,5}))?", word)
    if bracketed:
        return bracketed[1], int(bracketed[2]) if bracketed[2] else None
    plain = re.fullmatch(r"([^:]+):(\d{1,5})", word)
    return (plain[1], int(plain[2])) if plain else (word, None)


def _parse_network(word: str) -> Network | None:
    try:
        return ip_network(word, strict=False)
    except ValueError:
        return None


def embedded_ipv4(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that packets to `address` end up at (mapped, NAT64, 6to4, compatible), or None."""
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in NAT64 or (address in IPV4_COMPATIBLE and int(address) > 1):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.sixtofour


def forbidden_kind(address: Address) -> str | None:
    """What makes `address` one that agents may not reach ("a loopback", …), or None when it is public."""
    if isinstance(address, IPv6Address):
        inner = embedded_ipv4(address)
        if inner is not None:
            return forbidden_kind(inner)
    if address == AZURE_METADATA:
        return "a cloud metadata"
    for kind, is_kind in (
        ("an unspecified", address.is_unspecified),
        ("a loopback", address.is_loopback),
        ("a link-local", address.is_link_local),
        ("a multicast", address.is_multicast),
        ("a reserved", address.is_reserved),
        ("a private", address.is_private or not address.is_global),
        ("a private", isinstance(address, IPv6Address) and address.is_site_local),
    ):
        if is_kind:
            return kind
    return None


class FetchPolicy:
    """Resolves names and lets through only addresses that agents may reach."""

    def __init__(self, allow: tuple[AllowEntry, ...] = ()) -> None:
        self._allow = allow

    async def resolve(self, host: str, port: int) -> list[str]:
        """The addresses of `host` that may be connected to, at least one.

        The caller connects to one of these and never resolves again, so a name that changes its mind
        in between (DNS rebinding) gains nothing. Raises FetchRefused, NameNotResolved.
        """
        addresses = await _look_up(host, port)
        permitted = [address for address in addresses if self._permits(host, address, port)]
        if not permitted:
            raise FetchRefused(_refusal(host, addresses[0], port))
        return [str(address) for address in permitted]

    async def check_url(self, url: str) -> None:
        """Raise unless `url` is http or https and its host may be reached now."""
        host, port = split_url(url)
        await self.resolve(host, port)

    def _permits(self, host: str, address: Address, port: int) -> bool:
        if forbidden_kind(address) is None:
            return True
        return any(entry.matches(host, address, port) for entry in self._allow)


def split_url(url: str) -> tuple[str, int]:
    """Host and port of an http or https URL; FetchRefused for any other."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise FetchRefused(f"{url!r} is not a URL; write it as https://host/path.") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise FetchRefused(f"{url!r} is not an http or https URL; agents fetch no other kind.")
    return parts.hostname, port or (443 if parts.scheme == "https" else 80)


async def _look_up(host: str, port: int) -> list[Address]:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise NameNotResolved(host) from None
    return [_unmapped(ip_address(sockaddr[0])) for *_, sockaddr in found]


def _unmapped(address: Address) -> Address:
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _refusal(host: str, address: Address, port: int) -> str:
    what = f"{host} is" if host == str(address) else f"{host} leads to {address},"
    shown = f"[{address}]" if address.version == 6 else str(address)
    named = f" or {host}" if host.rpartition(".")[2].isalpha() else ""
    return (
        f"{what} {forbidden_kind(address)} address, which agents may not reach; "
        f"add {shown}:{port}{named} to WORKSTATION_FETCH_ALLOW if they should."
    )
