"""Bring the schema up to date: plain SQL files, forward only, safe with several starters at once."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files

import asyncpg

from workstation.domain.errors import Refusal
from workstation.store.database import Connection, Database
from workstation.store.statements import load

_SQL = load("migrations")
_FILE = re.compile(r"^(\d{4})_(\w+)\.sql$")
_OLDEST = re.compile(r"^-- oldest: (\d+)$", re.MULTILINE)
# Together longer than any statement of a replica may take.
_TRIES = 60
_PAUSE_SECONDS = 0.5
# One lock for all starters, whatever their version.
_LOCK = 0x776F726B


@dataclass(frozen=True, slots=True)
class Migration:
    """One file of migrations/: its number, its name and its text."""

    number: int
    name: str
    text: str

    @property
    def checksum(self) -> str:
        """What the database remembers of the text."""
        return sha256(self.text.encode()).hexdigest()

    @property
    def oldest(self) -> int:
        """The newest migration that a program has to know to go on working once this one is applied.

        A line `-- oldest: 3` in the file says so. Without it every program that does not know this migration has to
        be stopped first.
        """
        told = _OLDEST.search(self.text)
        return self.number if told is None else int(told[1])


def migrations() -> list[Migration]:
    """Every migration that ships, in order."""
    found = []
    for entry in files(__package__).joinpath("migrations").iterdir():
        if match := _FILE.match(entry.name):
            found.append(Migration(int(match[1]), match[2], entry.read_text(encoding="utf-8")))
    return sorted(found, key=lambda migration: migration.number)


async def migrate(database: Database) -> list[Migration]:
    """Apply what is missing, each in a transaction of its own; returns what was applied.

    Raises Refusal when the database is older than PostgreSQL 16, or was changed by a newer version of this program in
    a way that this one cannot work with.
    """
    applied: list[Migration] = []
    async with database.session() as connection:
        await _require_version(connection)
    for migration in migrations():
        if await _apply(database, migration):
            applied.append(migration)
    return applied


async def _apply(database: Database, migration: Migration) -> bool:
    """Apply one migration; whether it was missing. Tries again where a table is in use, and lets its users go first."""
    for tries_left in reversed(range(_TRIES)):
        try:
            async with database.transaction("migrate") as connection:
                return await _apply_in(connection, migration)
        except asyncpg.LockNotAvailableError as error:
            if tries_left == 0:
                raise Refusal(
                    f"Migration {migration.number} found its tables in use for too long; end what holds them "
                    "(a backup, somebody's open transaction) and start again."
                ) from error
            await asyncio.sleep(_PAUSE_SECONDS)
    raise AssertionError("the last try returns or raises")


async def _apply_in(connection: Connection, migration: Migration) -> bool:
    await connection.execute(_SQL["lock"].replace("$1", str(_LOCK)))
    await connection.execute(_SQL["patience"])
    await connection.execute(_SQL["create_table"])
    await connection.execute(_SQL["add_oldest"])
    await _require_known(connection)
    known = await connection.fetchval(_SQL["checksum_of"], migration.number)
    if known is None:
        await connection.execute(migration.text, timeout=300)
        await connection.execute(
            _SQL["remember"], migration.number, migration.name, migration.checksum, migration.oldest
        )
    elif known != migration.checksum:
        raise Refusal(
            f"The database was made with another text of migration {migration.number} than this program has; "
            "run the version that made it, or start with an empty database."
        )
    return known is None


async def is_current(connection: Connection) -> bool:
    """Whether every migration that ships has been applied."""
    newest = await connection.fetchval(_SQL["newest"])
    return bool(newest is not None and newest >= migrations()[-1].number)


async def schema_numbers(connection: Connection) -> tuple[int, int]:
    """The number of the newest migration the database has, and of the newest that ships."""
    return int(await connection.fetchval(_SQL["newest"]) or 0), migrations()[-1].number


async def _require_known(connection: Connection) -> None:
    """A newer replica may have changed the schema already, as long as it left it good for this program."""
    needed = await connection.fetchval(_SQL["oldest_needed"])
    if needed is not None and needed > migrations()[-1].number:
        newest = await connection.fetchval(_SQL["newest"])
        raise Refusal(
            f"This database was changed by a newer version of Workstation (its schema is number {newest}, and works "
            f"with programs that know number {needed}); start that version, or a newer one."
        )


async def _require_version(connection: Connection) -> None:
    number = int(await connection.fetchval(_SQL["server_version"]))
    if number < 160000:
        raise Refusal(
            f"PostgreSQL 16 or newer is needed and DATABASE_URL leads to {number // 10000}; "
            "upgrade it, or unset DATABASE_URL to use the embedded one."
        )
