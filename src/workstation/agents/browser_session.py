"""One life of Chromium, from its start to its end: found, confined, and kept behind the filtering proxy."""

import asyncio
import shutil
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.async_api import Browser, Playwright, async_playwright
from playwright.async_api import Error as PlaywrightError

from workstation.agents.confinement import Confinement, confinements

COMMANDS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
DEBIAN_SHELL = Path("/usr/lib/chromium/chromium-headless-shell")
LAUNCH_TIMEOUT_MS = 60_000.0
CLOSE_TIMEOUT_SECONDS = 5.0
# Driver and browser keep a little of every page they have shown: after so many they are replaced.
CONTEXTS_LIMIT = 500

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


class BrowserSession:
    """A running browser with its driver; `open_contexts` and `served` count what it was used for."""

    def __init__(self, browser: Browser, confinement: Confinement, stack: AsyncExitStack) -> None:
        self.browser = browser
        self.confinement = confinement
        self.open_contexts = 0
        self.served = 0
        self._stack = stack

    @property
    def is_usable(self) -> bool:
        """Whether new contexts may be opened in it."""
        return self.browser.is_connected() and self.served < CONTEXTS_LIMIT

    async def close(self) -> None:
        """End browser and driver; what is still open in it ends too."""
        await self._stack.aclose()


async def start_session(proxy_url: str, configured_path: str | None) -> BrowserSession:
    """Start a browser that uses the proxy for everything. Raises OSError, PlaywrightError."""
    async with AsyncExitStack() as stack:
        playwright = await stack.enter_async_context(async_playwright())
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="workstation-browser-")))
        path = find_browser(configured_path, playwright.chromium.executable_path)
        browser, confinement = await _launch(playwright, proxy_url, path, folder)
        stack.push_async_callback(_close_browser, browser)
        return BrowserSession(browser, confinement, stack.pop_all())


async def _launch(playwright: Playwright, proxy_url: str, path: str, folder: Path) -> tuple[Browser, Confinement]:
    *stricter, last = confinements()
    for confinement in stricter:
        with suppress(PlaywrightError):
            return await _launch_as(playwright, proxy_url, path, folder, confinement), confinement
    return await _launch_as(playwright, proxy_url, path, folder, last), last


async def _launch_as(
    playwright: Playwright, proxy_url: str, path: str, folder: Path, confinement: Confinement
) -> Browser:
    return await playwright.chromium.launch(
        executable_path=confinement.executable(path, folder),
        args=list(FLAGS),
        proxy={"server": proxy_url, "bypass": "<-loopback>"},
        chromium_sandbox=confinement.sandboxed,
        timeout=LAUNCH_TIMEOUT_MS,
        handle_sigint=False,
        handle_sigterm=False,
        handle_sighup=False,
    )


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
