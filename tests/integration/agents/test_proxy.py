"""The filtering proxy, spoken to as a browser would and as one would not."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from tests.support.websites import Secret

from workstation.agents.fetch_policy import FetchPolicy, parse_allow
from workstation.agents.proxy import REFUSED_HEADER, FilteringProxy


@pytest.fixture
async def proxy(shop: str) -> AsyncIterator[FilteringProxy]:
    """A proxy that lets through to the shop."""
    async with FilteringProxy(FetchPolicy(parse_allow(shop.removeprefix("http://")))) as running:
        yield running


async def exchange(proxy: FilteringProxy, request: bytes) -> bytes:
    """Send bytes to the proxy and read all it answers."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(proxy.url.rpartition(":")[2]))
    writer.write(request)
    async with asyncio.timeout(5):
        answer = await reader.read()
    writer.close()
    return answer


async def test_requests_to_a_permitted_site_pass_with_their_bodies(proxy: FilteringProxy, shop: str) -> None:
    async with httpx.AsyncClient(proxy=proxy.url) as client:
        for _ in range(2):
            answer = await client.post(f"{shop}/echo?a=b", content=b"x" * 200_000, headers={"X-Test": "1"})
            told = answer.json()
            assert told["body"] == "x" * 200_000
            assert told["headers"]["x-test"] == "1"
            assert not {name for name in told["headers"] if name.startswith("proxy-")}
        assert (await client.get(f"{shop}/bytes/3000000")).content == b"x" * 3_000_000
        assert (await client.head(f"{shop}/page1/")).status_code == 200


async def test_a_refusal_says_why(proxy: FilteringProxy, secret: Secret) -> None:
    async with httpx.AsyncClient(proxy=proxy.url) as client:
        answer = await client.get(f"{secret.url}/admin")
    assert answer.status_code == 403
    assert "WORKSTATION_FETCH_ALLOW" in answer.text
    assert answer.headers[REFUSED_HEADER] == answer.text
    assert proxy.refusal_of(secret.url) == answer.text
    assert secret.visits == []


async def test_a_tunnel_reaches_permitted_sites_only(proxy: FilteringProxy, shop: str, secret: Secret) -> None:
    target = shop.removeprefix("http://")
    opened = await exchange(
        proxy,
        f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n"
        f"GET /page1/ HTTP/1.1\r\nHost: {target}\r\nConnection: close\r\n\r\n".encode(),
    )
    assert opened.startswith(b"HTTP/1.1 200")
    assert b"Enamel Kettle" in opened
    refused = await exchange(proxy, f"CONNECT 127.0.0.1:{secret.port} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert refused.startswith(b"HTTP/1.1 403")
    assert secret.visits == []


async def test_a_host_header_does_not_change_the_destination(proxy: FilteringProxy, shop: str, secret: Secret) -> None:
    host = secret.url.removeprefix("http://")
    await exchange(proxy, f"GET {shop}/page1/ HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    assert secret.visits == []


async def test_the_second_request_of_a_connection_is_checked_too(
    proxy: FilteringProxy, shop: str, secret: Secret
) -> None:
    first = f"GET {shop}/page1/ HTTP/1.1\r\nHost: x\r\n\r\n"
    second = f"GET {secret.url}/admin HTTP/1.1\r\nHost: x\r\n\r\n"
    answers = await exchange(proxy, (first + second).encode())
    assert b"HTTP/1.1 200" in answers
    assert b"HTTP/1.1 403" in answers
    assert secret.visits == []


@pytest.mark.parametrize(
    "request_line",
    [
        "GET / HTTP/1.1",
        "GET ftp://127.0.0.1/ HTTP/1.1",
        "GET http://[ HTTP/1.1",
        "CONNECT : HTTP/1.1",
        "nonsense",
    ],
)
async def test_a_request_that_is_none_gets_nothing(proxy: FilteringProxy, request_line: str) -> None:
    answer = await exchange(proxy, f"{request_line}\r\nHost: x\r\n\r\n".encode())
    assert not answer.startswith(b"HTTP/1.1 200")


async def test_a_site_that_does_not_answer_is_a_bad_gateway() -> None:
    async with (
        FilteringProxy(FetchPolicy(parse_allow("127.0.0.1:1"))) as proxy,
        httpx.AsyncClient(proxy=proxy.url) as client,
    ):
        assert (await client.get("http://127.0.0.1:1/")).status_code == 502
        assert (await client.get("http://nowhere.invalid/")).status_code == 502
