"""`workstation backup` and `workstation restore`: the data folder as one file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from workstation.cli.exits import Trouble
from workstation.cli.output import say

if TYPE_CHECKING:
    from workstation.server.settings import Settings


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--force", is_flag=True, help="Replace FILE where it exists.")
def backup(file: Path, force: bool) -> None:
    """Write everything the data folder keeps into FILE, also while the server runs.

    The database as it is at one moment, with all that was acknowledged before, and the key that signs tokens: keep the
    file as secret as that. Logs are left out.
    """
    from workstation.server.backup import BackupFailure, back_up

    try:
        size = back_up(_settings(), file, lambda step: say("…", step), replace=force)
    except BackupFailure as failure:
        raise Trouble(str(failure)) from failure
    say("✓", f"{file}: {size / 1e6:.1f} MB")


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def restore(file: Path) -> None:
    """Fill an empty data folder from FILE. Then `workstation up` runs on it.

    FILE is verified before anything is touched. Agents start anew, and tasks that ran when the backup was taken run
    again, without charge. Where the original still runs, its agents and processes stay its own.
    """
    from workstation.server.backup import BackupFailure
    from workstation.server.backup import restore as restore_backup

    settings = _settings()
    try:
        contents = restore_backup(settings, file, lambda step: say("…", step))
    except BackupFailure as failure:
        raise Trouble(str(failure)) from failure
    say("✓", f"{settings.data_dir} is restored; `workstation up` starts it")
    if "secret" not in contents.sha256:
        say("!", "The backup has no signing key: start with the JWT_SECRET that the original had.")


def _settings() -> Settings:
    from workstation.server.settings import Settings, SettingsError

    try:
        return Settings.from_environment(os.environ)
    except SettingsError as error:
        raise Trouble(str(error), 2) from error
