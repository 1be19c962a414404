"""Backup and restore of a data folder: the embedded database and the key that signs tokens."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from workstation.domain.errors import Refusal
from workstation.engine.node import VERSION
from workstation.server import archive
from workstation.server.archive import ArchiveFailure, Contents
from workstation.server.data_folder import DataFolder, DataFolderFailure, DataFolderTaken
from workstation.server.postgres import base_backup
from workstation.server.postgres.binaries import MAJOR
from workstation.server.postgres.embedded import EmbeddedPostgres
from workstation.server.postgres.failure import PostgresFailure
from workstation.server.postgres.options import PostgresOptions
from workstation.server.postgres.programs import sync_folder
from workstation.server.settings import Settings
from workstation.store import restored
from workstation.store.database import Database
from workstation.store.migrate import migrate

SECRET = "secret"  # noqa: S105 - the name of a file
UNFINISHED = ".restoring"
# What a folder may have that never held a server, or where a restore was cut off.
_OF_NOBODY = {"lock", "logs", UNFINISHED}
Tell = Callable[[str], None]


class BackupFailure(Exception):
    """A backup could not be taken or restored: one sentence that says why and what to do."""


def back_up(settings: Settings, target: Path, tell: Tell, *, replace: bool) -> int:
    """Write a backup of the data folder to `target`, while its server runs or not; its size in bytes."""
    if settings.database_url is not None:
        raise BackupFailure(
            "DATABASE_URL is set: back that database up with its own tools (pg_basebackup), and keep JWT_SECRET or "
            f"{settings.data_dir / SECRET}."
        )
    if target.exists() and not replace:
        raise BackupFailure(f"{target} exists: choose another name, or replace it with --force.")
    if not (settings.data_dir / "postgres").is_dir():
        raise BackupFailure(f"There is no database in {settings.data_dir}: nothing to back up.")
    try:
        with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.absolute().parent) as made:
            return asyncio.run(_back_up(DataFolder(settings.data_dir), Path(made), target.absolute(), tell, replace))
    except (ArchiveFailure, PostgresFailure, DataFolderFailure) as failure:
        raise BackupFailure(str(failure)) from failure
    except OSError as error:
        raise BackupFailure(f"{target} cannot be written ({error.strerror or error}).") from error


async def _back_up(folder: DataFolder, made: Path, target: Path, tell: Tell, replace: bool) -> int:
    async with _database_of(folder) as server:
        tell("copying the database")
        await asyncio.to_thread(base_backup.take, server.sockets, made, tell)
    if (folder.path / SECRET).exists():
        shutil.copyfile(folder.path / SECRET, made / SECRET)
    tell("writing the file")
    return await asyncio.to_thread(archive.write, made, target, VERSION, MAJOR, replace=replace)


@asynccontextmanager
async def _database_of(folder: DataFolder) -> AsyncIterator[EmbeddedPostgres]:
    """The database of the server that runs on this folder; where none runs, started for as long as it takes."""
    server = EmbeddedPostgres(folder.postgres, folder.postgres_log, PostgresOptions())
    try:
        lock = folder.lock()
    except DataFolderTaken:
        if not await server.is_ready():
            raise PostgresFailure("The database is starting or stopping: try again in a moment.") from None
        yield server
        return
    try:
        await server.start()
        try:
            yield server
        finally:
            if not server.adopted:
                await server.stop()
    finally:
        lock.release()


def restore(settings: Settings, source: Path, tell: Tell) -> Contents:
    """Make an empty data folder what it was when the backup was taken. Nothing is touched before it is verified."""
    if settings.database_url is not None:
        raise BackupFailure("DATABASE_URL is set: unset it, because a backup is restored into a data folder.")
    try:
        tell("verifying the backup")
        contents = archive.verify(source)
        if contents.postgres > MAJOR:
            raise BackupFailure(
                f"The backup is of PostgreSQL {contents.postgres}, and this version of workstation has {MAJOR}: "
                f"install workstation {contents.workstation} or newer."
            )
        _require_unused(settings.data_dir)
        _require_empty(settings.data_dir)
        folder = DataFolder(settings.data_dir)
        lock = folder.lock()
        try:
            _require_empty(settings.data_dir)
            asyncio.run(_restore(folder, source, contents, tell, settings.older_postgres))
        finally:
            lock.release()
    except (ArchiveFailure, PostgresFailure, DataFolderFailure, Refusal) as failure:
        raise BackupFailure(str(failure)) from failure
    except OSError as error:
        raise BackupFailure(f"{settings.data_dir} cannot be filled ({error.strerror or error}).") from error
    return contents


def _require_unused(path: Path) -> None:
    if (path / "lock").exists() and (holder := DataFolder(path).holder()) is not None:
        raise DataFolderTaken(path, holder)


def _require_empty(path: Path) -> None:
    if not path.exists():
        return
    names = {entry.name for entry in path.iterdir()}
    allowed = _OF_NOBODY | ({SECRET} if UNFINISHED in names else set())
    if names - allowed or any((path / "logs").glob("*")):
        raise BackupFailure(f"{path} is not empty: restore into a new folder (WORKSTATION_DATA_DIR), or move it away.")


async def _restore(folder: DataFolder, source: Path, contents: Contents, tell: Tell, older: Path | None) -> None:
    work = folder.path / UNFINISHED
    server = EmbeddedPostgres(
        work / "postgres", work / "postgres.log", PostgresOptions(older_programs=older, tell=tell)
    )
    if work.exists():
        await server.stop()
        shutil.rmtree(work)
    try:
        tell("unpacking the database")
        await asyncio.to_thread(_unpack, source, contents, work)
        tell("starting it, and ending what ran when the backup was taken")
        await _make_sound(server)
        (work / "postgres" / "socket-alias").unlink(missing_ok=True)
        if (work / SECRET).exists():
            (work / SECRET).replace(folder.path / SECRET)
        (work / "postgres").rename(folder.postgres)
        sync_folder(folder.path)
    finally:
        await server.stop()
        shutil.rmtree(work)


def _unpack(source: Path, contents: Contents, work: Path) -> None:
    data = work / "postgres" / str(contents.postgres)
    data.mkdir(mode=0o700, parents=True)
    work.chmod(0o700)
    (work / "postgres" / "socket").mkdir(mode=0o700)
    archive.unpack(source, base_backup.BASE, data)
    archive.unpack(source, base_backup.WAL, data / "pg_wal")
    (data / base_backup.MANIFEST).write_bytes(archive.read(source, base_backup.MANIFEST))
    base_backup.check(data)
    (data / base_backup.MANIFEST).unlink()
    if SECRET in contents.sha256:
        descriptor = os.open(work / SECRET, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(archive.read(source, SECRET))


async def _make_sound(server: EmbeddedPostgres) -> None:
    """Let PostgreSQL replay its log, and forget the processes that belong to the server the copy was taken of."""
    dsn = await server.start()
    try:
        database = await Database.connect(dsn, pool_size=2)
        try:
            await migrate(database)
            await restored.adopt_transactions(database)
            async with database.transaction("restore") as connection:
                await restored.end_what_ran(connection)
        finally:
            await database.close()
    finally:
        await server.stop()
