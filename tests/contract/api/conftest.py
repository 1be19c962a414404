"""A running API for each test of the contract."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
from tests.support.api import Api, running_api
from tests.support.postgres import TestServer

from workstation.store.database import Database
from workstation.store.migrate import migrate

NAME = "api"
EMPTY_ALL = """do $$ begin
    execute (select 'truncate ' || string_agg(format('%I', tablename), ', ') || ' restart identity cascade'
             from pg_tables where schemaname = 'public' and tablename <> 'schema_migrations');
end $$"""


@pytest.fixture(scope="session")
def migrated(postgres: TestServer) -> str:
    """The DSN of one database with the current schema, for all tests here one after the other."""

    async def make() -> str:
        await postgres.execute(f'create database "{NAME}"')
        dsn = postgres.server.dsn_of(NAME)
        database = await Database.connect(dsn, pool_size=1)
        await migrate(database)
        await database.close()
        return dsn

    return asyncio.run(make())


@pytest.fixture
async def dsn(migrated: str) -> AsyncIterator[str]:
    """That database, empty."""
    connection = await asyncpg.connect(migrated)
    await connection.execute(EMPTY_ALL)
    await connection.close()
    yield migrated


@pytest.fixture
async def api(dsn: str) -> AsyncIterator[Api]:
    """The API over an empty database, without limits on how often it may be asked."""
    async with running_api(dsn) as api:
        yield api
