"""Checks of this machine: data folder, disk, database, browser, sandbox."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import Final

from workstation.cli.checks import OK, PROBLEM, WARNING, Finding
from workstation.cli.exits import Trouble
from workstation.cli.local import find_folder
from workstation_sdk.environment import data_folder as folder_path

GIB: Final = 1024**3
LOW_GIB: Final = 5
LEAST_GIB: Final = 1


def data_folder() -> Iterator[Finding]:
    """Whether the data folder is there and closed to others."""
    from workstation.server.data_folder import DataFolderFailure

    try:
        folder = find_folder()
        if folder is None:
            yield Finding(WARNING, "data folder", f"{folder_path()} is not there yet: `workstation up` makes it.")
            return
        if (folder.path / "secret").exists():
            folder.secret()
    except (Trouble, DataFolderFailure) as failure:
        yield Finding(PROBLEM, "data folder", str(failure))
        return
    open_files = [path for path in (folder.path, folder.credentials_file) if path.exists() and _open_to_others(path)]
    if open_files:
        paths = " ".join(map(str, open_files))
        yield Finding(PROBLEM, "data folder", f"Other users can read {paths}: run chmod go-rwx {paths}.")
    else:
        yield Finding(OK, "data folder", f"{folder.path}, closed to other users.")


def disk() -> Iterator[Finding]:
    """Whether there is room for what the database writes."""
    path = folder_path().expanduser()
    while not path.exists():
        path = path.parent
    free = shutil.disk_usage(path).free / GIB
    if free < LEAST_GIB:
        yield Finding(PROBLEM, "disk", f"Only {free:.1f} GiB are free at {path}: free some space.")
    elif free < LOW_GIB:
        yield Finding(WARNING, "disk", f"{free:.1f} GiB are free at {path}: that may not last long.")
    else:
        yield Finding(OK, "disk", f"{free:.0f} GiB are free.")


def database() -> Iterator[Finding]:
    """Whether the database answers and keeps what it has committed."""
    from workstation.domain.errors import Unavailable
    from workstation.server import examination
    from workstation.server.settings import Settings, SettingsError

    try:
        settings = Settings.from_environment(os.environ)
        folder = find_folder()
    except (SettingsError, Trouble) as error:
        yield Finding(PROBLEM, "database", str(error))
        return
    address = None if folder is None else examination.database_address(settings, folder)
    if address is None:
        yield Finding(WARNING, "database", "The embedded PostgreSQL is not there yet: `workstation up` makes it.")
        return
    which = "DATABASE_URL" if settings.database_url else "the embedded PostgreSQL"
    try:
        off = examination.settings_off(address)
    except Unavailable:
        remedy = "check the address" if settings.database_url else "`workstation up` starts it"
        yield Finding(PROBLEM, "database", f"{which} does not answer: {remedy}.")
        return
    if off:
        names = " and ".join(off)
        yield Finding(PROBLEM, "database", f"{which} has {names} off, so a power cut loses tasks: switch it on.")
    else:
        yield Finding(OK, "database", f"{which} answers; what it commits survives a power cut.")


def browser() -> Iterator[Finding]:
    """Whether there is a browser for the browser agent."""
    from workstation.server import examination

    found = examination.browser()
    if found is None:
        message = "No Chromium runs here, so the browser agent reads static pages only: run scripts/install-browser."
        yield Finding(WARNING, "browser", message)
    else:
        yield Finding(OK, "browser", f"{found}.")


def sandbox() -> Iterator[Finding]:
    """Whether code can be run in a sandbox."""
    from workstation.server import examination

    trouble = examination.sandbox_trouble()
    if trouble is None:
        yield Finding(OK, "sandbox", "Code runs in a sandbox of its own.")
    else:
        yield Finding(WARNING, "sandbox", f"The code runner refuses tasks: {trouble}")


def _open_to_others(path: os.PathLike[str]) -> bool:
    return bool(os.stat(path).st_mode & 0o077)  # noqa: PTH116 - either kind of path
