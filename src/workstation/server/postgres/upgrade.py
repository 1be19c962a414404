"""From an older major version to the installed one: the old server is dumped into a new cluster; the old data stay."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from signal import SIGINT, SIGQUIT

from workstation.runtimes import log_files
from workstation.server.postgres import postmaster
from workstation.server.postgres.account import Account, server_account
from workstation.server.postgres.binaries import Binaries, find_older, within_reach
from workstation.server.postgres.cluster import FULL, create_cluster
from workstation.server.postgres.conf import write_access, write_configuration
from workstation.server.postgres.failure import PostgresFailure
from workstation.server.postgres.inhabitants import end_inhabitants
from workstation.server.postgres.layout import PORT, ROLE, Layout, prepare, reachable_sockets
from workstation.server.postgres.options import PostgresOptions
from workstation.server.postgres.programs import ENVIRONMENT, place, spawn, sync_folder

UNFINISHED = ".upgrading"
DUMP = "dump"
# The settings of another version may be unknown to this one, and what an upgrade needs is little.
_BARE = (
    "config_file=/dev/null", "listen_addresses=", f"port={PORT}", "unix_socket_directories=../socket",
    "unix_socket_permissions=0700", "timezone=UTC",
)  # fmt: skip
STOP_SECONDS = 60


def find_older_data(layout: Layout) -> Layout | None:
    """The data of the newest older major version in the folder, or None."""
    majors = [
        int(entry.name)
        for entry in layout.folder.iterdir()
        if entry.name.isdecimal() and int(entry.name) < layout.major and (entry / "PG_VERSION").exists()
    ]
    return Layout(layout.folder, max(majors)) if majors else None


def upgrade(old: Layout, layout: Layout, binaries: Binaries, options: PostgresOptions, log: Path) -> None:
    """Make the data folder of `layout` out of `old`, whole or not at all; the caller holds the start lock.

    Raises PostgresFailure with what to do where the programs of the old version are not to be found.
    """
    found = find_older(old.major, options.older_programs)
    new = Layout(layout.folder / UNFINISHED, layout.major)
    if new.folder.exists():
        if new.data.exists():
            end_inhabitants(new.data)
        shutil.rmtree(new.folder)
    options.tell(f"upgrading the database from PostgreSQL {old.major} to {layout.major}; the old data stay")
    account = server_account(new.data)
    prepare(new, account)
    create_cluster(new, binaries, account, options)
    _copy(old, new, within_reach(found, server_account(old.data), options.shared_folder), binaries, options, log)
    new.data.rename(layout.data)
    sync_folder(layout.folder)
    shutil.rmtree(new.folder)
    options.tell(f"the database is of PostgreSQL {layout.major} now; {old.data} is not needed any more")


def _copy(
    old: Layout, new: Layout, old_programs: Binaries, programs: Binaries, options: PostgresOptions, log: Path
) -> None:
    dump = new.folder / DUMP
    with running(old, old_programs, options, log, bare=True) as sockets:
        options.tell("reading the old database")
        _must(programs, "pg_dump", sockets, "--format=custom", "--compress=0", f"--file={dump}", options.database)
    with running(new, programs, options, log, bare=False) as sockets:
        options.tell("writing the new database")
        _must(programs, "pg_restore", sockets, "--exit-on-error", f"--dbname={options.database}", str(dump))
        _must(programs, "vacuumdb", sockets, "--analyze-only", "--quiet", options.database)


def _must(programs: Binaries, name: str, sockets: Path, *arguments: str) -> None:
    command = [programs.program(name), f"--host={sockets}", f"--port={PORT}", f"--username={ROLE}", "--no-password"]
    done = subprocess.run(
        [*command, *arguments], env=ENVIRONMENT, capture_output=True, text=True, umask=0o077, check=False
    )
    if done.returncode != 0:
        words = done.stderr.strip().splitlines() or [f"{name} was ended"]
        why = "the disk is full" if any(full in done.stderr for full in FULL) else words[-1]
        raise PostgresFailure(
            f"The database could not be upgraded ({why}): mend that and start again; the old data are whole."
        )


@contextmanager
def running(layout: Layout, programs: Binaries, options: PostgresOptions, log: Path, *, bare: bool) -> Iterator[Path]:
    """A server on this data for the length of the block; its socket folder."""
    account = server_account(layout.data)
    prepare(layout, account)
    if (pid := postmaster.find_postmaster(layout)) is not None:
        _end(pid)
    postmaster.clear_away(layout)
    if bare:
        write_access(layout.data, account)
    else:
        write_configuration(layout.data, options, account)
    child = _spawn(layout, programs, account, log, _BARE if bare else ())
    try:
        if not postmaster.wait_until_up(layout, child.pid, options.start_timeout.total_seconds(), lambda: False):
            raise PostgresFailure(f"PostgreSQL {layout.major} does not start for the upgrade: see {log}.")
        yield reachable_sockets(layout, options.runtime_folder)
    finally:
        _end(child.pid)
        child.wait()


def _spawn(
    layout: Layout, programs: Binaries, account: Account | None, log: Path, settings: tuple[str, ...]
) -> "subprocess.Popen[bytes]":
    output = log_files.open_log(log)
    try:
        argv = [programs.program("postgres"), "-D", place(layout.data, account)]
        return spawn([*argv, *(f"--{setting}" for setting in settings)], layout.data, account, output)
    finally:
        os.close(output)


def _end(pid: int) -> None:
    postmaster.send(pid, SIGINT)
    if not postmaster.wait_until_gone(pid, STOP_SECONDS):
        postmaster.send(pid, SIGQUIT)
        postmaster.wait_until_gone(pid, STOP_SECONDS)
