"""browser-automation-agent: navigates, clicks, fills, scrapes and takes screenshots with Chromium."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

import httpx
from playwright.async_api import Locator, Page
from playwright.async_api import TimeoutError as PlaywrightTimeout

from workstation.agents.bounds import check_size
from workstation.agents.chromium import BrowserUnavailable, WarmBrowser
from workstation.agents.extract import Document, Selectors, check_selectors, is_complete
from workstation.agents.fetch import guarded_client
from workstation.agents.fetch_policy import FetchPolicy, parse_allow
from workstation.agents.proxy import FilteringProxy
from workstation.agents.scraper import read_page, scrape_static
from workstation.agents.settings import read_settings
from workstation.agents.visit import Visit, visiting
from workstation_sdk import Agent, Context, Health, TaskFailed

DEFAULT_WAIT_MS = 2_000
ELEMENT_TIMEOUT_MS = 5_000.0
IMAGE_LIMIT = 675 * 1024

Fields = dict[str, str | bool]

agent = Agent(
    "browser-automation-agent",
    capabilities=["navigate", "click", "fill", "scrape", "screenshot"],
    concurrency=4,
)


@dataclass(frozen=True, slots=True)
class BrowserRoom:
    """What the tasks share: one browser, its proxy, and a plain client for when there is no browser."""

    browser: WarmBrowser
    proxy: FilteringProxy
    policy: FetchPolicy
    client: httpx.AsyncClient

    def visit(self, ctx: Context, url: str) -> AbstractAsyncContextManager[Visit]:
        """Open `url` for a task."""
        return visiting(self.browser, self.policy, self.proxy, url, ctx.timeout)


@agent.lifespan
@asynccontextmanager
async def resources(_: Agent) -> AsyncIterator[BrowserRoom]:
    """The proxy, the client, and a browser that starts in the background."""
    settings = read_settings()
    policy = FetchPolicy(parse_allow(settings.fetch_allow))
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(FilteringProxy(policy))
        client = await stack.enter_async_context(guarded_client(policy))
        browser = WarmBrowser(proxy, settings.browser_path)
        stack.push_async_callback(browser.close)
        warming = asyncio.ensure_future(_warm_up(browser))
        agent.health(lambda: browser_health(browser))
        try:
            yield BrowserRoom(browser, proxy, policy, client)
        finally:
            await asyncio.gather(warming, return_exceptions=True)


async def _warm_up(browser: WarmBrowser) -> None:
    with suppress(BrowserUnavailable):  # it is kept as `trouble` and shown in the agent's health
        await browser.start()


def browser_health(browser: WarmBrowser) -> Health:
    """Degraded with the reason while there is no browser: then only static pages can be scraped."""
    if browser.trouble is not None:
        return Health("degraded", {"reason": f"{browser.trouble} Only static pages can be scraped."})
    told: dict[str, object] = {"browser": browser.version or "starting", "open_pages": browser.open_contexts}
    if browser.confinement is not None:
        told["sandboxed"] = browser.confinement.sandboxed
    return Health("healthy", told)


@agent.task("navigate")
async def navigate(ctx: Context, url: str) -> dict[str, object]:
    """Open `url`: {url (after redirects), title, status, blocked: [requests of the page that were refused]}.

    This and the tasks below raise TaskFailed: FetchRefused, Timeout, NavigationFailed, BrowserFailed,
    BrowserUnavailable.
    """
    await ctx.progress(10, "opening the page")
    async with _room(ctx).visit(ctx, url) as visit:
        return await _arrival(visit)


@agent.task("click")
async def click(
    ctx: Context, url: str, selector: str, selectors: Selectors | None = None, wait_ms: int = DEFAULT_WAIT_MS
) -> dict[str, object]:
    """Open `url` and click the first element at `selector`: {clicked, url, title, status, blocked}.

    With `selectors` the page that follows is read into `data`, as scrape does. Raises ElementNotFound too.
    """
    check_selectors(selectors)
    await ctx.progress(10, "opening the page")
    async with _room(ctx).visit(ctx, url) as visit:
        await ctx.progress(50, f"clicking {selector}")
        await (await _find(visit.page, selector)).click(timeout=ELEMENT_TIMEOUT_MS)
        await visit.after_action()
        return {"clicked": selector, **await _arrival(visit), **await _data(visit, selectors, wait_ms)}


@agent.task("fill")
async def fill(
    ctx: Context,
    url: str,
    fields: Fields,
    submit: bool | str = False,
    selectors: Selectors | None = None,
    wait_ms: int = DEFAULT_WAIT_MS,
) -> dict[str, object]:
    """Fill the form at `url`: `fields` maps selectors to text, an option's value, or true/false for a box.

    `submit` true submits the form of the last field, a selector is clicked. Returns {filled, submitted, url,
    title, status, blocked} and `data` as click does. Raises ElementNotFound and InvalidPayload too.
    """
    check_selectors(selectors)
    if not fields:
        raise TaskFailed("fields is empty; name at least one.", type="InvalidPayload", retryable=False)
    await ctx.progress(10, "opening the page")
    async with _room(ctx).visit(ctx, url) as visit:
        await ctx.progress(40, "filling the form")
        for selector, value in fields.items():
            last = await _find(visit.page, selector)
            await _enter(last, value)
        if submit:
            await ctx.progress(70, "submitting the form")
            await _submit(visit.page, last, submit)
            await visit.after_action()
        outcome = {"filled": list(fields), "submitted": bool(submit), **await _arrival(visit)}
        return {**outcome, **await _data(visit, selectors, wait_ms)}


@agent.task("scrape")
async def scrape(
    ctx: Context,
    url: str,
    selectors: Selectors | None = None,
    every: bool = False,
    wait_ms: int = DEFAULT_WAIT_MS,
) -> dict[str, object]:
    """The text at `selectors` of the rendered page: {"title": "…", "price": None}, keyed by name or selector.

    Without `selectors` a summary: {url, title, headings, text, links, status}. What is missing is waited for
    up to `wait_ms` or until the network is quiet, then it is null. Without a browser the page is read
    statically and the result has `_engine: "static"`. Raises HttpError and InvalidSelector too.
    """
    check_selectors(selectors)
    room = _room(ctx)
    await ctx.progress(10, "opening the page")
    try:
        async with room.visit(ctx, url) as visit:
            await ctx.progress(60, "reading the page")
            document = await visit.read(_wait(wait_ms), lambda page: _is_read(page, selectors))
            visit.refuse_if_blocked()
            await _report_blocked(ctx, visit)
            return read_page(document, visit.page.url, visit.status or 200, selectors, every=every)
    except BrowserUnavailable as unavailable:
        await ctx.progress(30, f"{unavailable.message} Reading the page without running its scripts.")
        result = await scrape_static(room.client, url, selectors, every=every, timeout=ctx.timeout)
        return {**result, "_engine": "static"}


@agent.task("screenshot")
async def screenshot(ctx: Context, url: str, full_page: bool = False) -> dict[str, object]:
    """A picture of the page: {url, title, status, blocked, content_type, size, image_base64}.

    PNG, or JPEG where a PNG would be larger than 675 KiB. Raises TooLarge for pages that are larger still.
    """
    await ctx.progress(10, "opening the page")
    async with _room(ctx).visit(ctx, url) as visit:
        await visit.read(_wait(DEFAULT_WAIT_MS), lambda _: False)
        await ctx.progress(70, "taking the picture")
        content_type, image = await _picture(visit.page, full_page)
        encoded = base64.b64encode(image).decode("ascii")
        picture = {"content_type": content_type, "size": len(image), "image_base64": encoded}
        return {**await _arrival(visit), **picture}


def _room(ctx: Context) -> BrowserRoom:
    room = ctx.resources
    assert isinstance(room, BrowserRoom)
    return room


def _wait(wait_ms: int) -> timedelta:
    return timedelta(milliseconds=max(0, wait_ms))


def _is_read(page: Document, selectors: Selectors | None) -> bool:
    return selectors is not None and is_complete(page.select(selectors))


async def _arrival(visit: Visit) -> dict[str, object]:
    title = await visit.title()
    visit.refuse_if_blocked()
    return {"url": visit.page.url, "title": title, "status": visit.status, "blocked": visit.blocked}


async def _data(visit: Visit, selectors: Selectors | None, wait_ms: int) -> dict[str, object]:
    if selectors is None:
        return {}
    document = await visit.read(_wait(wait_ms), lambda page: _is_read(page, selectors))
    visit.refuse_if_blocked()
    return {"data": check_size(document.select(selectors))}


async def _report_blocked(ctx: Context, visit: Visit) -> None:
    if visit.blocked:
        await ctx.progress(90, f"refused {len(visit.blocked)} requests of the page, the first: {visit.blocked[0]}")


async def _find(page: Page, selector: str) -> Locator:
    check_selectors([selector])
    first = page.locator(f"css={selector}").first
    try:
        await first.wait_for(state="attached", timeout=ELEMENT_TIMEOUT_MS)
    except PlaywrightTimeout:
        message = f"The page at {page.url} has no element {selector!r}; check the selector."
        raise TaskFailed(message, type="ElementNotFound", retryable=False) from None
    return first


async def _enter(element: Locator, value: str | bool) -> None:
    if isinstance(value, bool):
        await element.set_checked(value, timeout=ELEMENT_TIMEOUT_MS)
    elif await element.evaluate("element => element.tagName") == "SELECT":
        await element.select_option(value, timeout=ELEMENT_TIMEOUT_MS)
    else:
        await element.fill(value, timeout=ELEMENT_TIMEOUT_MS)


async def _submit(page: Page, last: Locator, submit: Literal[True] | str) -> None:
    if isinstance(submit, str):
        await (await _find(page, submit)).click(timeout=ELEMENT_TIMEOUT_MS)
    elif not await last.evaluate("element => { element.form?.requestSubmit(); return !!element.form; }"):
        message = "The last field is in no form; name the button to click in submit."
        raise TaskFailed(message, type="ElementNotFound", retryable=False)


async def _picture(page: Page, full_page: bool) -> tuple[str, bytes]:
    image = await page.screenshot(full_page=full_page, type="png")
    if len(image) <= IMAGE_LIMIT:
        return "image/png", image
    for quality in (80, 50, 20):
        image = await page.screenshot(full_page=full_page, type="jpeg", quality=quality)
        if len(image) <= IMAGE_LIMIT:
            return "image/jpeg", image
    message = f"The picture of {page.url} does not fit into a task's result; leave full_page out."
    raise TaskFailed(message, type="TooLarge", retryable=False)
