"""The server of this machine's data folder: whether one runs, and which process it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workstation.cli.exits import Trouble
from workstation_sdk.environment import data_folder

if TYPE_CHECKING:
    from workstation.server.data_folder import DataFolder, Holder


def find_folder() -> DataFolder | None:
    """Return the data folder, or None where it was never made. Raises Trouble where it cannot be used."""
    from workstation.server.data_folder import DataFolder, DataFolderFailure

    path = data_folder().expanduser()
    if not path.exists():
        return None
    try:
        return DataFolder(path)
    except DataFolderFailure as failure:
        raise Trouble(str(failure)) from failure


def find_holder() -> Holder | None:
    """Return who runs on the data folder, or None where nobody does. Raises Trouble where it cannot be used."""
    from workstation.server.data_folder import DataFolderFailure

    folder = find_folder()
    try:
        return None if folder is None else folder.holder()
    except DataFolderFailure as failure:
        raise Trouble(str(failure)) from failure
