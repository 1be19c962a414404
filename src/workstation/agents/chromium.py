"""One Chromium kept warm behind the filtering proxy; a fresh context for every task."""

import asyncio
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.async_api import Browser, BrowserContext, Page, Playwright, async_playwright
from playwright.async_api import Error as PlaywrightError

from workstation.agents.confinement import Confinement, confinements
from workstation.agents.proxy import FilteringProxy
from workstation_sdk import TaskFailed

COMMANDS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
DEBIAN_SHELL = Path("/usr/lib/chromium/chromium-headless-shell")
LAUNCH_TIMEOUT_MS = 60_000.0
CLOSE_TIMEOUT_SECONDS = 5.0
RETRY_LAUNCH_SECONDS = 30.0
VIEWPORT_WIDTH, VIEWPORT_HEIGHT = 1280, 800

# Everything that could reach the network beside the proxy is off: UDP of WebRTC and QUIC, name lookups
# of Chromium itself, its own background requests.
FLAGS = (
    "--disable-quic",
    "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
    "--webrtc-ip-handling-policy=disable_non_proxied_udp",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-domain-reliability",
    "--disable-sync",
    "--no-pings",
    "--no-first-run",
    "--disable-gpu",
)


class BrowserUnavailable(TaskFailed):
    """There is no browser on this machine, or it does not start."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"No browser: {reason}", type="BrowserUnavailable", retryable=False)


class WarmBrowser:
    """Starts Chromium at first need, restarts it when it has died, and closes what a task opened.

    `trouble` is None, or a sentence saying why there is no browser now; `confinement` is how it was started.
    """

    def __init__(self, proxy: FilteringProxy, configured_path: str | None = None) -> None:
        self.trouble: str | None = None
        self.confinement: Confinement | None = None
        self.open_contexts = 0
        self._proxy = proxy
        self._configured_path = configured_path
        self._lock = asyncio.Lock()
        self._session: AsyncExitStack | None = None
        self._browser: Browser | None = None
        self._next_try_at = 0.0
        self._closing: set[asyncio.Future[None]] = set()

    @property
    def version(self) -> str | None:
        """The running browser's version, or None while none runs."""
        return self._browser.version if self._browser is not None and self._browser.is_connected() else None

    async def start(self) -> Browser:
        """The running browser, started if need be.

        Raises BrowserUnavailable; a failed start is tried again after 30 s.
        """
        async with self._lock:
            if self._browser is not None and self._browser.is_connected():
                return self._browser
            if self.trouble is not None and time.monotonic() < self._next_try_at:
                raise BrowserUnavailable(self.trouble)
            await self._end_session()
            try:
                self._browser = await self._launch()
            except (PlaywrightError, OSError) as error:
                await self._end_session()
                self.trouble = _launch_trouble(error)
                self._next_try_at = time.monotonic() + RETRY_LAUNCH_SECONDS
                raise BrowserUnavailable(self.trouble) from error
            self.trouble = None
            return self._browser

    async def close(self) -> None:
        """End the browser and its driver."""
        async with self._lock:
            await self._end_session()

    @asynccontextmanager
    async def page(self) -> AsyncIterator[Page]:
        """A page in a context of its own, gone afterwards however the task ends; or BrowserUnavailable."""
        # A context in the making when its task is cancelled would be nobody's: it is finished, then closed.
        making = asyncio.ensure_future(self._new_context())
        try:
            context = await asyncio.shield(making)
        except asyncio.CancelledError:
            making.add_done_callback(self._close_abandoned)
            raise
        self.open_contexts += 1
        try:
            yield await context.new_page()
        finally:
            self.open_contexts -= 1
            await asyncio.shield(self._close_context(context))

    def _close_abandoned(self, making: "asyncio.Future[BrowserContext]") -> None:
        if not making.cancelled() and making.exception() is None:
            closing = asyncio.ensure_future(self._close_context(making.result()))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    async def _new_context(self) -> BrowserContext:
        for last_try in (False, True):
            browser = await self.start()
            try:
                return await browser.new_context(
                    viewport={"width": VIEWPORT_WIDTH, "height": VIEWPORT_HEIGHT},
                    accept_downloads=False,
                    service_workers="block",
                )
            except PlaywrightError:
                # It died since it was looked at; the second try starts another.
                if last_try or browser.is_connected():
                    raise
        raise AssertionError("the loop returns or raises")

    async def _close_context(self, context: BrowserContext) -> None:
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_SECONDS):
                await context.close()
        except TimeoutError:
            # A page that blocks its own end would stay for ever: the browser goes, the next task starts one.
            await self.close()
        except PlaywrightError:
            await self._drop_dead_browser()

    async def _drop_dead_browser(self) -> None:
        if self._browser is not None and not self._browser.is_connected():
            await self.close()

    async def _launch(self) -> Browser:
        self._session = AsyncExitStack()
        playwright: Playwright = await self._session.enter_async_context(async_playwright())
        folder = Path(self._session.enter_context(TemporaryDirectory(prefix="workstation-browser-")))
        path = find_browser(self._configured_path, playwright.chromium.executable_path)
        *stricter, last = confinements()
        for confinement in stricter:
            with suppress(PlaywrightError):
                return await self._launch_as(playwright, confinement, confinement.executable(path, folder))
        return await self._launch_as(playwright, last, last.executable(path, folder))

    async def _launch_as(self, playwright: Playwright, confinement: Confinement, executable: str) -> Browser:
        assert self._session is not None
        browser = await playwright.chromium.launch(
            executable_path=executable,
            args=list(FLAGS),
            proxy={"server": self._proxy.url, "bypass": "<-loopback>"},
            chromium_sandbox=confinement.sandboxed,
            timeout=LAUNCH_TIMEOUT_MS,
            handle_sigint=False,
            handle_sigterm=False,
            handle_sighup=False,
        )
        self.confinement = confinement
        self._session.push_async_callback(_close_browser, browser)
        return browser

    async def _end_session(self) -> None:
        session, self._session, self._browser = self._session, None, None
        if session is not None:
            await session.aclose()


async def _close_browser(browser: Browser) -> None:
    with suppress(PlaywrightError, TimeoutError):
        async with asyncio.timeout(CLOSE_TIMEOUT_SECONDS):
            await browser.close()


def find_browser(configured: str | None, own: str) -> str:
    """The Chromium to start: the configured one, an installed one, or Playwright's `own`.

    Raises FileNotFoundError when it is not there.
    """
    installed = next((path for path in map(shutil.which, COMMANDS) if path), None)
    path = Path(configured or installed or (DEBIAN_SHELL if DEBIAN_SHELL.exists() else own))
    if not path.exists():
        raise FileNotFoundError(path)
    return str(path)


def _launch_trouble(error: Exception) -> str:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if isinstance(error, FileNotFoundError):
        return "no Chromium is installed; run scripts/install-browser or set WORKSTATION_BROWSER to one."
    return f"Chromium does not start ({reason}); set WORKSTATION_BROWSER to one that does."
