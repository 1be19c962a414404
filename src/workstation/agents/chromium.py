"""A Chromium kept warm for the tasks: started at first need, replaced when it died or grew old."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from playwright.async_api import BrowserContext, Page
from playwright.async_api import Error as PlaywrightError

from workstation.agents.browser_session import CLOSE_TIMEOUT_SECONDS, BrowserSession, start_session
from workstation.agents.confinement import Confinement
from workstation.agents.proxy import FilteringProxy
from workstation_sdk import TaskFailed

RETRY_LAUNCH_SECONDS = 30.0
VIEWPORT_WIDTH, VIEWPORT_HEIGHT = 1280, 800

Opened = tuple[BrowserSession, BrowserContext]


class BrowserUnavailable(TaskFailed):
    """There is no browser on this machine, or it does not start."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"No browser: {reason}", type="BrowserUnavailable", retryable=False)


class WarmBrowser:
    """Gives each task a page in a context of its own, and closes what the task opened.

    `trouble` is None, or a sentence saying why there is no browser now.
    """

    def __init__(self, proxy: FilteringProxy, configured_path: str | None = None) -> None:
        self.trouble: str | None = None
        self._proxy = proxy
        self._configured_path = configured_path
        self._lock = asyncio.Lock()
        self._current: BrowserSession | None = None
        self._sessions: set[BrowserSession] = set()
        self._next_try_at = 0.0
        self._closing: set[asyncio.Future[None]] = set()

    @property
    def version(self) -> str | None:
        """The running browser's version, or None while none runs."""
        return self._current.browser.version if self._current is not None else None

    @property
    def confinement(self) -> Confinement | None:
        """How the running browser was started, or None while none runs."""
        return self._current.confinement if self._current is not None else None

    @property
    def open_contexts(self) -> int:
        """How many tasks have a page open."""
        return sum(session.open_contexts for session in self._sessions)

    async def start(self) -> BrowserSession:
        """The session new pages are opened in, started if need be.

        Raises BrowserUnavailable; a failed start is tried again after 30 s.
        """
        async with self._lock:
            if self._current is not None and self._current.is_usable:
                return self._current
            await self._retire()
            if self.trouble is not None and time.monotonic() < self._next_try_at:
                raise BrowserUnavailable(self.trouble)
            try:
                self._current = await start_session(self._proxy.url, self._configured_path)
            except (PlaywrightError, OSError) as error:
                self.trouble = _launch_trouble(error)
                self._next_try_at = time.monotonic() + RETRY_LAUNCH_SECONDS
                raise BrowserUnavailable(self.trouble) from error
            self.trouble = None
            self._sessions.add(self._current)
            return self._current

    async def close(self) -> None:
        """End every browser and its driver."""
        async with self._lock:
            self._current = None
            while self._sessions:
                await self._sessions.pop().close()

    @asynccontextmanager
    async def page(self) -> AsyncIterator[Page]:
        """A page in a context of its own, gone afterwards however the task ends; or BrowserUnavailable."""
        # A context in the making when its task is cancelled would be nobody's: it is finished, then closed.
        making = asyncio.ensure_future(self._open_context())
        try:
            opened = await asyncio.shield(making)
        except asyncio.CancelledError:
            making.add_done_callback(self._close_abandoned)
            raise
        try:
            yield await opened[1].new_page()
        finally:
            await asyncio.shield(self._close_context(*opened))

    async def _open_context(self) -> Opened:
        for last_try in (False, True):
            session = await self.start()
            session.open_contexts += 1
            session.served += 1
            try:
                context = await session.browser.new_context(
                    viewport={"width": VIEWPORT_WIDTH, "height": VIEWPORT_HEIGHT},
                    accept_downloads=False,
                    service_workers="block",
                )
            except PlaywrightError:
                # It died since it was looked at; the second try starts another.
                await self._leave(session)
                if last_try or session.browser.is_connected():
                    raise
            else:
                return session, context
        raise AssertionError("the loop returns or raises")

    def _close_abandoned(self, making: asyncio.Future[Opened]) -> None:
        if not making.cancelled() and making.exception() is None:
            closing = asyncio.ensure_future(self._close_context(*making.result()))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    async def _close_context(self, session: BrowserSession, context: BrowserContext) -> None:
        try:
            with suppress(PlaywrightError):  # the browser has died, and the context with it
                async with asyncio.timeout(CLOSE_TIMEOUT_SECONDS):
                    await context.close()
        except TimeoutError:
            # A page that blocks its own end would stay for ever: the browser goes, the next task starts one.
            await session.close()
        finally:
            await self._leave(session)

    async def _leave(self, session: BrowserSession) -> None:
        session.open_contexts -= 1
        if session is not self._current and session.open_contexts == 0:
            self._sessions.discard(session)
            await session.close()

    async def _retire(self) -> None:
        """Open nothing more in the current session; it ends when its last page does."""
        session, self._current = self._current, None
        if session is not None and session.open_contexts == 0:
            self._sessions.discard(session)
            await session.close()


def _launch_trouble(error: Exception) -> str:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if isinstance(error, FileNotFoundError):
        return "no Chromium is installed; run scripts/install-browser or set WORKSTATION_BROWSER to one."
    return f"Chromium does not start ({reason}); set WORKSTATION_BROWSER to one that does."
