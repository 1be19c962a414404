"""Fixtures for all tests: one embedded PostgreSQL for each test process, one fresh database for each test."""

from collections.abc import AsyncIterator, Iterator

import pytest
from tests.support.postgres import TestServer, server_folder


@pytest.fixture(scope="session")
def postgres() -> Iterator[TestServer]:
    """A running PostgreSQL of this test process."""
    with server_folder() as folder:
        server = TestServer(folder)
        server.start()
        yield server


@pytest.fixture
async def database(postgres: TestServer) -> AsyncIterator[str]:
    """The DSN of a fresh, empty database."""
    async with postgres.database() as dsn:
        yield dsn
