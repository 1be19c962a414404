"""A page opened for one task: going there, watching what it asks for, waiting until it has settled."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

from playwright.async_api import Error as PlaywrightError
from playwright.async_api import Frame, Page, Request, Response
from playwright.async_api import TimeoutError as PlaywrightTimeout

from workstation.agents.chromium import WarmBrowser
from workstation.agents.extract import Document
from workstation.agents.fetch_policy import FetchPolicy, FetchRefused
from workstation.agents.proxy import REFUSED_HEADER, FilteringProxy
from workstation_sdk import TaskFailed

POLL_SECONDS = 0.1
NAVIGATION_STARTS_WITHIN_SECONDS = 0.15
BLOCKED_LIMIT = 50
# How Playwright says that one document has gone and the next is not there yet.
BETWEEN_PAGES = ("page is navigating", "Execution context was destroyed", "Cannot find context")


class Visit:
    """One page and what became of its requests; `status` is that of the latest main document, or None."""

    def __init__(self, page: Page, proxy: FilteringProxy, deadline: float) -> None:
        self.page = page
        self.status: int | None = None
        self.blocked: list[str] = []
        self._proxy = proxy
        self._deadline = deadline
        self._refusal: str | None = None
        self._navigations: set[Request] = set()
        self._arrived = asyncio.Event()
        self._arrived.set()
        page.on("request", self._on_request)
        page.on("response", self._on_response)
        page.on("requestfailed", self._on_request_failed)
        page.on("framenavigated", self._on_navigated)

    @property
    def remaining_ms(self) -> float:
        """Milliseconds left for this visit, at least 1."""
        return max(1.0, (self._deadline - time.monotonic()) * 1000)

    async def go(self, url: str) -> None:
        """Open `url` and wait for its load event. Raises FetchRefused and TaskFailed with the reason."""
        try:
            await self.page.goto(url, wait_until="load", timeout=self.remaining_ms)
        except PlaywrightTimeout:
            self.refuse_if_blocked()
            raise TaskFailed(
                f"{url} did not finish loading in time; give the task more time.", type="Timeout"
            ) from None
        except PlaywrightError as error:
            self.refuse_if_blocked()
            raise TaskFailed(f"{url} could not be opened: {_reason(error)}.", type="NavigationFailed") from error
        self.refuse_if_blocked()

    async def after_action(self) -> None:
        """Wait for the navigation that a click or a submit started, if it did."""
        await asyncio.sleep(NAVIGATION_STARTS_WITHIN_SECONDS)
        with suppress(TimeoutError):
            async with asyncio.timeout(self.remaining_ms / 1000):
                await self._arrived.wait()
        with suppress(PlaywrightTimeout):
            await self.page.wait_for_load_state("load", timeout=self.remaining_ms)
        self.refuse_if_blocked()

    async def read(self, wait: timedelta, is_complete: Callable[[Document], bool]) -> Document:
        """The document as rendered; waits up to `wait` until it is complete or the network is quiet."""
        quiet = asyncio.ensure_future(self._network_quiet(wait))
        try:
            while True:
                was_quiet = quiet.done()
                document = Document(await self._between_pages(self.page.content), self.page.url)
                if was_quiet or is_complete(document):
                    return document
                await asyncio.wait([quiet], timeout=POLL_SECONDS)
        finally:
            quiet.cancel()
            await asyncio.gather(quiet, return_exceptions=True)

    async def title(self) -> str:
        """The page's title, the next page's where one is on its way."""
        return await self._between_pages(self.page.title)

    def refuse_if_blocked(self) -> None:
        """Raise FetchRefused when the page itself (not something in it) led to a forbidden address."""
        if self._refusal is not None:
            raise FetchRefused(self._refusal)

    async def _between_pages(self, read: Callable[[], Awaitable[str]]) -> str:
        """What `read` gives, once no navigation is in its way."""
        while True:
            try:
                return await read()
            except PlaywrightError as error:
                moving = any(sign in error.message for sign in BETWEEN_PAGES)
                if not moving or self.remaining_ms <= 1:
                    raise
                await asyncio.sleep(POLL_SECONDS)

    async def _network_quiet(self, wait: timedelta) -> None:
        with suppress(PlaywrightError):
            timeout_ms = min(self.remaining_ms, max(1.0, wait.total_seconds() * 1000))
            await self.page.wait_for_load_state("networkidle", timeout=timeout_ms)

    def _on_request(self, request: Request) -> None:
        if self._is_main(request):
            self._navigations.add(request)
            self._arrived.clear()

    def _on_response(self, response: Response) -> None:
        if self._is_main(response.request):
            self.status = response.status
        refusal = response.headers.get(REFUSED_HEADER)
        if refusal is not None:
            self._on_refusal(response.request, refusal)

    def _on_request_failed(self, request: Request) -> None:
        self._navigations.discard(request)
        if not self._navigations:
            self._arrived.set()
        refusal = self._proxy.refusal_of(request.url)
        if refusal is not None and "ERR_TUNNEL_CONNECTION_FAILED" in (request.failure or ""):
            self._on_refusal(request, refusal)

    def _on_navigated(self, frame: Frame) -> None:
        if frame == self.page.main_frame:
            self._navigations.clear()
            self._arrived.set()

    def _on_refusal(self, request: Request, message: str) -> None:
        if self._is_main(request):
            self._refusal = message
        elif len(self.blocked) < BLOCKED_LIMIT:
            self.blocked.append(f"{request.url[:200]}: {message}")

    def _is_main(self, request: Request) -> bool:
        return request.is_navigation_request() and request.frame == self.page.main_frame


@asynccontextmanager
async def visiting(
    browser: WarmBrowser, policy: FetchPolicy, proxy: FilteringProxy, url: str, timeout: timedelta
) -> AsyncIterator[Visit]:
    """Open `url` in a fresh context. Raises FetchRefused, BrowserUnavailable and TaskFailed with the reason.

    What Playwright raises inside is turned into TaskFailed too: the browser may die at any moment.
    """
    await policy.check_url(url)
    # A tenth is kept back, so that the reason of a slow page is reported before the task itself times out.
    deadline = time.monotonic() + timeout.total_seconds() * 0.9
    try:
        async with browser.page() as page:
            visit = Visit(page, proxy, deadline)
            page.set_default_timeout(visit.remaining_ms)
            await visit.go(url)
            yield visit
    except PlaywrightTimeout as error:
        raise TaskFailed(f"The page at {url} was too slow: {_reason(error)}.", type="Timeout") from error
    except PlaywrightError as error:
        raise TaskFailed(f"The page at {url} was lost: {_reason(error)}.", type="BrowserFailed") from error


def _reason(error: PlaywrightError) -> str:
    first_line = error.message.strip().splitlines()[0] if error.message.strip() else type(error).__name__
    return first_line.partition(" at http")[0].removeprefix("Page.goto: ").rstrip(".:")
