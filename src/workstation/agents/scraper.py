"""scraper-agent: reads static pages, no browser involved."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import httpx

from workstation.agents.bounds import check_size
from workstation.agents.extract import Document, Selectors, check_selectors, fit_links, found_nothing
from workstation.agents.fetch import build_request, fetch, guarded_client, refuse_error_status
from workstation.agents.fetch_policy import FetchPolicy, parse_allow
from workstation.agents.settings import read_settings
from workstation_sdk import Agent, Context, TaskFailed

PAGE_LIMIT = 5 * 1024 * 1024
HTML_TYPES = frozenset({"", "text/html", "application/xhtml+xml", "application/xml", "text/xml", "text/plain"})
ACCEPT = "text/html,application/xhtml+xml;q=0.9,*/*;q=0.5"

agent = Agent("scraper-agent", capabilities=["scrape", "links"])


@agent.lifespan
@asynccontextmanager
async def resources(_: Agent) -> AsyncIterator[httpx.AsyncClient]:
    """One guarded client for all tasks."""
    async with guarded_client(FetchPolicy(parse_allow(read_settings().fetch_allow))) as client:
        yield client


@agent.task("scrape")
async def scrape(ctx: Context, url: str, selectors: Selectors | None = None, every: bool = False) -> dict[str, object]:
    """The text at `selectors` (see `Document.select`), or a summary of the page without them.

    Raises TaskFailed: FetchRefused, HttpError, InvalidSelector, NotHtml and network failures.
    """
    await ctx.progress(10, "fetching the page")
    return await scrape_static(ctx.resources, url, selectors, every=every, timeout=ctx.timeout)


@agent.task("links")
async def links(ctx: Context, url: str, same_host: bool = False) -> dict[str, object]:
    """The http(s) links of a page: {url, total, links: [{text, href}]}; `same_host` keeps its own."""
    await ctx.progress(10, "fetching the page")
    page_url, status, page = await load_static(ctx.resources, url, ctx.timeout)
    refuse_error_status(page_url, status)
    found = page.links()
    if same_host:
        host = httpx.URL(page_url).host
        found = [link for link in found if httpx.URL(link["href"]).host == host]
    return {"url": page_url, "total": len(found), "links": fit_links(found)}


async def scrape_static(
    client: httpx.AsyncClient, url: str, selectors: Selectors | None, *, every: bool, timeout: timedelta
) -> dict[str, object]:
    """Fetch `url` and read it without running its scripts."""
    check_selectors(selectors)
    page_url, status, page = await load_static(client, url, timeout)
    return read_page(page, page_url, status, selectors, every=every)


def read_page(page: Document, url: str, status: int, selectors: Selectors | None, *, every: bool) -> dict[str, object]:
    """The result of a scrape of `page`.

    An error page (status 400 and above) fails the task unless what was asked for is on it; without
    selectors the summary of a client error's page carries its status instead.
    """
    if status >= 500 or status == 429:
        refuse_error_status(url, status)
    if selectors is None:
        return {**page.summary(), "status": status}
    values = page.select(selectors, every=every)
    if found_nothing(values):
        refuse_error_status(url, status)
    return check_size(values)


async def load_static(client: httpx.AsyncClient, url: str, timeout: timedelta) -> tuple[str, int, Document]:
    """Fetch an HTML page: its final URL, HTTP status and parsed content. Raises NotHtml for other content."""
    request = build_request(client, "GET", url, headers={"accept": ACCEPT})
    fetched = await fetch(client, request, limit=PAGE_LIMIT, timeout=timeout)
    if fetched.status in (429, 503):
        refuse_error_status(fetched.url, fetched.status, fetched.headers.get("retry-after"))
    if fetched.content_type not in HTML_TYPES:
        message = f"{fetched.url} is {fetched.content_type}, not a page; use http-agent's download for it."
        raise TaskFailed(message, type="NotHtml", retryable=False)
    return fetched.url, fetched.status, Document(fetched.text(), fetched.url)
