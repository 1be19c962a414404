"""Making the data folder of PostgreSQL, at once or not at all, and telling whether it fits the programs."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from workstation.server.postgres.account import Account, give_away, maker_account
from workstation.server.postgres.binaries import Binaries
from workstation.server.postgres.failure import PostgresFailure
from workstation.server.postgres.inhabitants import end_inhabitants
from workstation.server.postgres.layout import ROLE, Layout
from workstation.server.postgres.options import PostgresOptions
from workstation.server.postgres.programs import place, run, sync_folder

HALF_MADE = ".new-"
FULL = ("No space left on device", "Disk quota exceeded")


def check_version(layout: Layout) -> bool:
    """Whether there is a data folder for these programs.

    Raises PostgresFailure where it is of another version.
    """
    if layout.data.exists():
        version = (layout.data / "PG_VERSION").read_text().strip()
        if version != str(layout.major):
            raise _wrong_version(layout.data, version, layout.major)
        return True
    for other in layout.folder.iterdir():
        if other.name.isdecimal() and int(other.name) > layout.major and (other / "PG_VERSION").exists():
            raise _wrong_version(other, other.name, layout.major)
    return False


def _wrong_version(folder: Path, version: str, major: int) -> PostgresFailure:
    return PostgresFailure(
        f"The data in {folder} are of PostgreSQL {version}, and the installed programs are {major}: "
        "install the version of workstation that made them, or a newer one."
    )


def create_cluster(layout: Layout, binaries: Binaries, account: Account | None, options: PostgresOptions) -> None:
    """Make the data folder and its database.

    All is done in a folder beside it that is renamed when it is complete and on disk, so a kill at any moment
    leaves either nothing or everything. What an earlier, killed attempt left is removed; the caller holds the
    start lock.
    """
    try:
        _remove_half_made(layout)
        partial = Path(tempfile.mkdtemp(prefix=HALF_MADE, dir=layout.folder))
        try:
            _fill(partial, binaries, account, options)
            partial.rename(layout.data)
        except BaseException:
            shutil.rmtree(partial)
            raise
        sync_folder(layout.folder)
    except OSError as error:
        raise PostgresFailure(f"The database in {layout.folder} could not be made: {_remedy(str(error))}") from error


def _remove_half_made(layout: Layout) -> None:
    """What a killed attempt left, which may still be at work without anybody waiting for it."""
    for leftover in layout.folder.glob(f"{HALF_MADE}*"):
        end_inhabitants(leftover)
        shutil.rmtree(leftover)


def _fill(folder: Path, binaries: Binaries, account: Account | None, options: PostgresOptions) -> None:
    maker = maker_account(account)
    if maker is not None:
        os.chown(folder, maker.uid, maker.gid)
    here = ["-D", place(folder, maker)]
    _must(run([
        binaries.program("initdb"), *here, f"--username={ROLE}", "--auth=peer", "--data-checksums",
        "--no-sync", "--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8",
        "--no-instructions",
    ], folder, maker))  # fmt: skip
    database = options.database.replace('"', '""')
    single = [binaries.program("postgres"), "--single", "-F", "-j", *here, "template1"]
    _must(run(single, folder, maker, text=f'create database "{database}"\n\n'))
    if options.durable:
        method = ["--sync-method=syncfs"] if sys.platform == "linux" else []
        _must(run([binaries.program("initdb"), "--sync-only", *method, *here], folder, maker))
    if account is not None:
        give_away(folder, account)


def _must(done: "subprocess.CompletedProcess[str]") -> None:
    if done.returncode != 0 or "ERROR:" in done.stderr:
        raise PostgresFailure(f"The database could not be made: {_remedy(done.stderr or done.stdout)}")


def _remedy(output: str) -> str:
    if any(full in output for full in FULL):
        return "the disk is full; free some space (about 100 MB at least) and start again."
    lines = [line for line in output.strip().splitlines() if "removing" not in line]
    return f"{lines[-1].strip() if lines else 'initdb was killed'}; mend this and start again."
