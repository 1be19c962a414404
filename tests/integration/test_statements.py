"""Every named statement is understood by PostgreSQL as it stands, before anything calls it."""

from __future__ import annotations

from importlib.resources import files

import pytest

from workstation.store.database import Database
from workstation.store.migrate import migrate
from workstation.store.statements import load

NOUNS = sorted(entry.name.removesuffix(".sql") for entry in files("workstation.store").joinpath("sql").iterdir())
# Utility statements that PostgreSQL does not prepare, or that are filled in before they are sent.
NOT_PREPARED = {("history", "make_partitions"), ("migrations", "create_table")}


@pytest.fixture
async def migrated(database: str):
    opened = await Database.connect(database)
    await migrate(opened)
    yield opened
    await opened.close()


async def test_every_statement_can_be_prepared(migrated: Database) -> None:
    refused = {}
    for noun in NOUNS:
        for name, text in load(noun).items():
            if (noun, name) in NOT_PREPARED:
                continue
            async with migrated.session() as connection:
                try:
                    await connection.prepare(text)
                except Exception as error:  # noqa: BLE001 - all of them are wanted at once
                    refused[f"{noun}.{name}"] = str(error)
    assert refused == {}
