"""What a page in our Chromium cannot reach: each attempt is a real one, and is refused."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from tests.support.served_agent import ServedAgent, has_browser, serving_agent
from tests.support.websites import Secret, page_of

from workstation.agents import browser

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(not has_browser(), reason="no Chromium on this machine: scripts/install-browser"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium(shop: str) -> AsyncIterator[ServedAgent]:
    """The agent with its warm browser."""
    async with serving_agent(browser.agent) as served:
        yield served


@pytest.fixture
def datagrams() -> Iterator[socket.socket]:
    """A UDP socket on loopback: nothing may arrive there."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.setblocking(False)
        yield listener


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{port}/",
        "http://localhost:{port}/",
        "http://2130706433:{port}/",
        "http://0x7f000001:{port}/",
        "http://0177.0.0.1:{port}/",
        "http://[::1]:{port}/",
        "http://[::ffff:127.0.0.1]:{port}/",
        "https://127.0.0.1:{port}/",
        "http://169.254.169.254/latest/meta-data/",
        "http://10.0.0.1/",
    ],
)
async def test_a_private_page_is_refused_however_it_is_written(chromium: ServedAgent, secret: Secret, url: str) -> None:
    for task in ("navigate", "scrape", "screenshot"):
        ended = await chromium.run(task, url=url.format(port=secret.port))
        assert ended.error.type == "FetchRefused"
        assert ended.error.retryable is False
        assert "WORKSTATION_FETCH_ALLOW" in ended.error.message
    assert secret.visits == []


@pytest.mark.parametrize("url", ["file:///etc/passwd", "chrome://version", "view-source:http://x", "data:text/html,x"])
async def test_a_page_of_another_kind_is_refused(chromium: ServedAgent, url: str) -> None:
    ended = await chromium.run("navigate", url=url)
    assert ended.error.type == "FetchRefused"


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_redirect_to_a_private_service_is_refused(
    chromium: ServedAgent, shop: str, secret: Secret, scheme: str
) -> None:
    ended = await chromium.run("scrape", url=f"{shop}/redirect?to={scheme}://127.0.0.1:{secret.port}/")
    assert ended.error.type == "FetchRefused"
    assert ended.error.retryable is False
    assert f"127.0.0.1:{secret.port}" in ended.error.message
    assert "WORKSTATION_FETCH_ALLOW" in ended.error.message
    assert secret.visits == []


async def test_a_click_that_leads_to_a_private_service_is_refused(
    chromium: ServedAgent, shop: str, secret: Secret
) -> None:
    link = page_of(shop, f"<a id=out href='{secret.url}/'>out</a>")
    ended = await chromium.run("click", url=link, selector="#out", selectors=["h1"])
    assert ended.error.type == "FetchRefused"
    assert secret.visits == []


async def test_a_script_that_moves_on_to_a_private_service_is_refused(
    chromium: ServedAgent, shop: str, secret: Secret
) -> None:
    page = page_of(shop, f"<h1></h1><script>setTimeout(() => location = '{secret.url}/', 50)</script>")
    ended = await chromium.run("scrape", url=page, selectors=["h1"])
    assert ended.error.type == "FetchRefused"
    assert secret.visits == []


async def test_what_a_page_loads_from_a_private_service_is_refused_and_named(
    chromium: ServedAgent, shop: str, secret: Secret
) -> None:
    page = page_of(
        shop,
        f"<h1>page</h1><img src='{secret.url}/img'><iframe src='{secret.url}/frame'></iframe>"
        f"<script src='{secret.url}/script'></script><link rel=stylesheet href='{secret.url}/style'>"
        f"<link rel=prefetch href='{secret.url}/prefetch'><link rel=preconnect href='{secret.url}'>"
        f"<script>fetch('{secret.url}/fetch'); navigator.sendBeacon('{secret.url}/beacon');"
        f"new WebSocket('ws://127.0.0.1:{secret.port}/socket'); new EventSource('{secret.url}/events');"
        f"new Image().src = 'https://localhost:{secret.port}/image'</script>",
    )
    ended = await chromium.run("navigate", url=page)
    assert ended.result["status"] == 200
    assert len(ended.result["blocked"]) >= 5
    assert all("WORKSTATION_FETCH_ALLOW" in refusal for refusal in ended.result["blocked"])
    assert secret.visits == []


async def test_a_script_cannot_read_a_private_service(chromium: ServedAgent, shop: str, secret: Secret) -> None:
    page = page_of(
        shop,
        f"<h1></h1><script>fetch('{secret.url}/').then(a => a.text()).catch(e => 'failed: ' + e)"
        ".then(text => document.querySelector('h1').textContent = text)</script>",
    )
    ended = await chromium.run("scrape", url=page, selectors=["h1"])
    assert "secret" not in ended.result["h1"]
    assert secret.visits == []


async def test_a_page_sends_no_datagram_past_the_proxy(
    chromium: ServedAgent, shop: str, datagrams: socket.socket
) -> None:
    port = datagrams.getsockname()[1]
    page = page_of(
        shop,
        "<h1></h1><script>"
        f"const peer = new RTCPeerConnection({{iceServers: [{{urls: 'stun:127.0.0.1:{port}'}}]}});"
        "peer.createDataChannel('x'); const seen = [];"
        "peer.onicecandidate = e => { if (e.candidate) seen.push(e.candidate.candidate);"
        " else document.querySelector('h1').textContent = 'gathered ' + seen.join() };"
        "peer.createOffer().then(offer => peer.setLocalDescription(offer));"
        f"try {{ new WebTransport('https://127.0.0.1:{port}/').ready.catch(() => 0) }} catch (e) {{ }}"
        "</script>",
    )
    ended = await chromium.run("scrape", url=page, selectors=["h1"], wait_ms=3000)
    await asyncio.sleep(0.3)
    with pytest.raises(BlockingIOError):
        datagrams.recv(2048)
    assert ended.result["h1"].strip() in ("", "gathered")


async def test_the_proxy_cannot_be_talked_to_by_a_page(chromium: ServedAgent, shop: str) -> None:
    ended = await chromium.run("navigate", url="http://127.0.0.1:1/")
    assert ended.error.type == "FetchRefused"
    assert (await chromium.run("navigate", url=shop)).result["status"] == 200
