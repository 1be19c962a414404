"""The spine: one database with the current schema for a test process, empty for each test."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.support.postgres import TestServer
from tests.support.spine import Spine, empty_spine

from workstation.store.database import Database
from workstation.store.migrate import migrate

NAME = "spine"


@pytest.fixture(scope="session")
def spine_dsn(postgres: TestServer) -> str:
    """The DSN of the database all tests of the spine use one after the other."""

    async def make() -> str:
        await postgres.execute(f'create database "{NAME}"')
        dsn = postgres.server.dsn_of(NAME)
        database = await Database.connect(dsn, pool_size=1)
        await migrate(database)
        await database.close()
        return dsn

    return asyncio.run(make())


@pytest.fixture
async def spine(spine_dsn: str) -> AsyncIterator[Spine]:
    """That database, emptied, with shortcuts."""
    async with empty_spine(spine_dsn) as spine:
        yield spine
