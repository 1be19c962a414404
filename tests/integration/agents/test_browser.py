"""browser-automation-agent with a real Chromium, on the example shop."""

import asyncio
import base64
import os
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import pytest_asyncio
from tests.support.served_agent import ServedAgent, has_browser, serving_agent
from tests.support.websites import page_of

from workstation.agents import browser, browser_session
from workstation_sdk.testing import run_task

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(not has_browser(), reason="no Chromium on this machine: scripts/install-browser"),
]

PRODUCT = {"title": "h1.product-title", "price": "span.price", "description": "div.description"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium(shop: str) -> AsyncIterator[ServedAgent]:
    """The agent with its warm browser."""
    async with serving_agent(browser.agent) as served:
        yield served


async def test_an_object_of_selectors_gives_an_object_of_texts(chromium: ServedAgent, shop: str) -> None:
    ended = await chromium.run("scrape", url=f"{shop}/products", selectors=PRODUCT, depth=3)
    assert ended.result == {
        "title": "Walnut Desk Lamp",
        "price": "$99.99",
        "description": "A lamp of oiled walnut with a warm light, made to be repaired.",
    }


async def test_a_list_of_selectors_gives_null_for_what_is_missing(chromium: ServedAgent, shop: str) -> None:
    ended = await chromium.run("scrape", url=shop, selectors=["h1", ".content", ".missing"])
    assert ended.result == {
        "h1": "The Shop",
        ".content": "Five things, none of which you can buy.",
        ".missing": None,
    }


async def test_without_selectors_the_page_is_summed_up(chromium: ServedAgent, shop: str) -> None:
    ended = await chromium.run("scrape", url=f"{shop}/page2")
    assert ended.result["title"] == "Linen Notebook · The Shop"
    assert ended.result["status"] == 200
    assert ended.result["url"] == f"{shop}/page2/"
    assert "_engine" not in ended.result


async def test_a_price_that_a_script_brings_is_waited_for(chromium: ServedAgent, shop: str) -> None:
    ended = await chromium.run("scrape", url=f"{shop}/offer", selectors={"price": ".price"})
    assert ended.result == {"price": "$7.77"}


async def test_a_page_is_navigated_to(chromium: ServedAgent, shop: str) -> None:
    ended = await chromium.run("navigate", url=f"{shop}/redirect?to=/page3/")
    assert ended.result == {
        "url": f"{shop}/page3/",
        "title": "Brass Pencil · The Shop",
        "status": 200,
        "blocked": [],
    }


async def test_a_click_follows_a_link_and_reads_what_comes(chromium: ServedAgent, shop: str) -> None:
    ended = await chromium.run("click", url=shop, selector="#order-link", selectors={"title": "h1"})
    assert ended.result["url"] == f"{shop}/order/"
    assert ended.result["data"] == {"title": "Order"}


async def test_a_form_is_filled_and_submitted(chromium: ServedAgent, shop: str) -> None:
    ended = await chromium.run(
        "fill",
        url=f"{shop}/order",
        fields={"[name=name]": "Ann Other", "select": "kettle", "[name=gift]": True},
        submit=True,
        selectors=[".name", ".product", ".gift"],
    )
    assert ended.result["submitted"] is True
    assert ended.result["data"] == {".name": "Ann Other", ".product": "kettle", ".gift": "a gift"}


async def test_a_form_is_submitted_by_its_button(chromium: ServedAgent, shop: str) -> None:
    ended = await chromium.run(
        "fill", url=f"{shop}/order", fields={"[name=name]": "Ann"}, submit="button", selectors=[".name"]
    )
    assert ended.result["data"] == {".name": "Ann"}


async def test_a_screenshot_is_a_png(chromium: ServedAgent, shop: str) -> None:
    ended = await chromium.run("screenshot", url=f"{shop}/page1")
    image = base64.b64decode(ended.result["image_base64"])
    assert ended.result["content_type"] == "image/png"
    assert image.startswith(b"\x89PNG\r\n\x1a\n")
    assert ended.result["size"] == len(image)


async def test_a_picture_too_large_for_png_is_a_jpeg_that_fits(chromium: ServedAgent, shop: str) -> None:
    noise = (
        "<canvas id=c width=1280 height=800></canvas><script>const x=c.getContext('2d');"
        "const d=x.createImageData(1280,800);for(let i=0;i<d.data.length;i++)"
        "d.data[i]=i%4==3?255:Math.random()*256;x.putImageData(d,0,0)</script>"
    )
    ended = await chromium.run("screenshot", url=page_of(shop, noise))
    assert ended.result["content_type"] == "image/jpeg"
    assert len(ended.result["image_base64"]) <= 900 * 1024


async def test_a_missing_element_is_named(chromium: ServedAgent, shop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browser, "ELEMENT_TIMEOUT_MS", 100.0)
    ended = await chromium.run("click", url=shop, selector="#nowhere")
    assert ended.error.type == "ElementNotFound"
    assert "#nowhere" in ended.error.message
    assert ended.error.retryable is False


async def test_an_error_page_without_what_was_asked_for_fails(chromium: ServedAgent, shop: str) -> None:
    missing = await chromium.run("scrape", url=f"{shop}/nothing-here", selectors=PRODUCT)
    assert missing.error.type == "HttpError"
    assert missing.error.retryable is False
    down = await chromium.run("scrape", url=f"{shop}/status/503")
    assert down.error.type == "HttpError"
    assert down.error.retryable is True


async def test_a_slow_page_is_reported_before_the_task_times_out(chromium: ServedAgent, shop: str) -> None:
    ended = await chromium.run("navigate", timeout=1.5, url=f"{shop}/slow?seconds=4")
    assert ended.error.type == "Timeout"
    assert "in time" in ended.error.message


async def test_tasks_share_no_cookies(chromium: ServedAgent, shop: str) -> None:
    page = "<h1 id=h></h1><script>h.textContent='cookie:'+document.cookie;document.cookie='a=1'</script>"
    for _ in range(2):
        ended = await chromium.run("scrape", url=page_of(shop, page), selectors=["h1"])
        assert ended.result == {"h1": "cookie:"}


async def test_a_cancelled_task_leaves_no_page_behind(chromium: ServedAgent, shop: str) -> None:
    # Cancelled at different moments: while the context is made, while the page loads, while it is read.
    for delay in (0.0, 0.01, 0.05, 0.1, 0.4):
        task = await chromium.submit("scrape", url=f"{shop}/slow?seconds=1")
        await asyncio.sleep(delay)
        await chromium.connection.cancel(task)
    await until_no_page_is_open(chromium)
    assert (await chromium.run("navigate", url=shop)).result["status"] == 200


async def test_a_task_that_times_out_leaves_no_page_behind(chromium: ServedAgent, shop: str) -> None:
    for _ in range(3):
        ended = await chromium.run("navigate", timeout=1.0, url=f"{shop}/slow?seconds=2")
        assert ended.error is not None
    await until_no_page_is_open(chromium)


async def test_a_page_that_hangs_in_a_script_ends_and_the_next_task_works(chromium: ServedAgent, shop: str) -> None:
    ended = await chromium.run("scrape", timeout=3.0, url=page_of(shop, "<script>for(;;);</script>"), selectors=["h1"])
    assert ended.error.type == "Timeout"
    assert (await chromium.run("navigate", url=shop)).result["status"] == 200


async def test_a_browser_that_died_is_replaced(chromium: ServedAgent, shop: str) -> None:
    kill_the_browser()
    ended = await chromium.run("scrape", url=f"{shop}/page1", selectors=["h1"])
    assert ended.result == {"h1": "Enamel Kettle"}


async def test_a_browser_that_dies_during_a_task_fails_it_with_a_retry(chromium: ServedAgent, shop: str) -> None:
    task = await chromium.submit("navigate", url=f"{shop}/slow?seconds=5")
    await asyncio.sleep(1)
    kill_the_browser()
    ended = await chromium.end_of(task)
    assert ended.error.retryable is True
    assert (await chromium.run("navigate", url=shop)).result["status"] == 200


async def test_an_old_browser_is_replaced_while_tasks_go_on(
    chromium: ServedAgent, shop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(browser_session, "CONTEXTS_LIMIT", 2)
    before = {process.pid for process in browser_processes()}
    ended = await asyncio.gather(*[chromium.run("scrape", url=f"{shop}/page1", selectors=["h1"]) for _ in range(7)])
    assert [one.result for one in ended] == [{"h1": "Enamel Kettle"}] * 7
    assert not before & {process.pid for process in browser_processes()}
    await until_no_page_is_open(chromium)
    browsers = [process for process in browser_processes() if "--remote-debugging-pipe" in command_of(process)]
    assert len(browsers) <= 2


async def test_health_names_the_browser(chromium: ServedAgent) -> None:
    beat = await chromium.health()
    assert beat.healthStatus == "healthy"
    assert isinstance(beat.metadata, dict)
    assert beat.metadata["open_pages"] == 0


async def test_chromium_is_not_root_and_health_says_whether_it_is_sandboxed(chromium: ServedAgent, shop: str) -> None:
    await chromium.run("navigate", url=shop)
    metadata = (await chromium.health()).metadata
    assert isinstance(metadata, dict)
    processes = browser_processes()
    assert processes
    assert {process.uids().real for process in processes} == {os.geteuid() or 65534}
    assert any("--no-sandbox" in command_of(process) for process in processes) is not metadata["sandboxed"]


async def test_without_a_browser_scrape_reads_statically_and_the_rest_says_why(
    shop: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("WORKSTATION_BROWSER", str(tmp_path / "no-such-browser"))
    scraped = await run_task(browser.agent, "scrape", {"url": f"{shop}/products", "selectors": {"price": ".price"}})
    assert scraped.result == {"price": "$99.99", "_engine": "static"}
    clicked = await run_task(browser.agent, "click", {"url": shop, "selector": "a"})
    assert clicked.error is not None
    assert clicked.error.type == "BrowserUnavailable"
    assert "install-browser" in clicked.error.message


def kill_the_browser() -> None:
    """Kill all of Chromium at once, as a lack of memory would."""
    for process in browser_processes():
        with suppress(psutil.NoSuchProcess):
            process.kill()


def browser_processes() -> list[psutil.Process]:
    """Every Chromium process of this test process."""
    mine = psutil.Process().children(recursive=True)
    return [process for process in mine if "--headless" in command_of(process)]


def command_of(process: psutil.Process) -> str:
    """Its command line; empty for one that has just ended."""
    try:
        return " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return ""


async def until_no_page_is_open(chromium: ServedAgent) -> None:
    """Wait until the agent says that no page is open and its browser shows none."""
    async with asyncio.timeout(10):
        while True:
            metadata = (await chromium.health()).metadata
            if isinstance(metadata, dict) and metadata["open_pages"] == 0 and not renderers():
                return


def renderers() -> list[psutil.Process]:
    """Chromium's page processes."""
    return [process for process in browser_processes() if "--type=renderer" in command_of(process)]
