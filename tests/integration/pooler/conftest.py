"""A PostgreSQL behind a pgbouncer that lends a backend for each transaction, from a small pool."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.support.pgbouncer import PgBouncer, open_postgres, program
from tests.support.postgres import TestServer

POOL_SIZE = 2


@pytest.fixture(scope="session")
def behind() -> Iterator[tuple[TestServer, Path]]:
    """The PostgreSQL behind it, and the folder of its socket."""
    program()
    with open_postgres() as found:
        yield found


@pytest.fixture
def pooler(behind: tuple[TestServer, Path]) -> Iterator[PgBouncer]:
    """The pgbouncer, running."""
    pooler = PgBouncer(behind[1], size=POOL_SIZE)
    pooler.start()
    yield pooler
    pooler.remove()


@pytest.fixture
async def direct(behind: tuple[TestServer, Path]) -> AsyncIterator[str]:
    """The address of a fresh database, past the pgbouncer."""
    async with behind[0].database() as dsn:
        yield dsn


@pytest.fixture
def pooled(pooler: PgBouncer, direct: str) -> str:
    """The address of the same database through it."""
    return pooler.dsn_of(direct.split("?")[0].rsplit("/", 1)[-1])
