"""What `workstation doctor` looks at besides the API: the database, the browser and the sandbox of this machine."""

from __future__ import annotations

import asyncio
import subprocess

from playwright.sync_api import sync_playwright

from workstation.agents.browser_session import find_browser
from workstation.agents.code_runner import open_room
from workstation.agents.settings import read_settings
from workstation.server.data_folder import DataFolder
from workstation.server.postgres.binaries import MAJOR
from workstation.server.postgres.layout import Layout, dsn, reachable_sockets
from workstation.server.postgres.options import PostgresOptions
from workstation.server.settings import Settings
from workstation.store.database import Database
from workstation.store.durability import settings_that_are_off


def database_address(settings: Settings, folder: DataFolder) -> str | None:
    """The address of the database this server uses or would use; None where the embedded one was never made."""
    if settings.database_url is not None:
        return settings.database_url
    layout, options = Layout(folder.postgres.absolute(), MAJOR), PostgresOptions()
    if not layout.data.exists():
        return None
    return dsn(reachable_sockets(layout, options.runtime_folder), options.database)


def settings_off(address: str) -> tuple[str, ...]:
    """The settings that durability needs and this database has switched off. Raises Unavailable."""

    async def ask() -> tuple[str, ...]:
        database = await Database.connect(address, pool_size=1)
        try:
            async with database.session() as connection:
                return await settings_that_are_off(connection)
        finally:
            await database.close()

    return asyncio.run(ask())


def browser() -> str | None:
    """The program the browser agent starts, tried for its version; None where there is none that runs."""
    try:
        with sync_playwright() as playwright:
            own = playwright.chromium.executable_path
    except Exception:  # noqa: BLE001 - a bare one is what Playwright raises where its driver does not run
        return None
    try:
        program = find_browser(read_settings().browser_path, own)
    except FileNotFoundError:
        return None
    return program if _runs([program, "--version"]) else None


def sandbox_trouble() -> str | None:
    """Why code cannot be run in a sandbox on this machine, tried for real; None where it can."""

    async def attempt() -> str | None:
        room = await open_room()
        if room.sandbox is not None:
            room.sandbox.close()
        return room.trouble

    return asyncio.run(attempt())


def _runs(command: list[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=10, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False
