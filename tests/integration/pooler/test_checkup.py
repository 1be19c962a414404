"""What a replica behind a pooler tells of its ears: told apart are a deaf one, one that is spared, and a good one."""

from tests.integration.server.test_checkup import about, replica
from tests.support.postgres import TestServer

from workstation.domain.findings import Finding, Level
from workstation.store.database import Database
from workstation.store.migrate import migrate


async def listener(pooled: str, direct: str | None, *, hears: bool = True) -> Finding:
    """What is found of the listener."""
    database = await Database.connect(pooled, pool_size=2, direct_dsn=direct)
    await migrate(database)
    try:
        async with replica(database, hears=hears) as found:
            return await about(found, "listener")
    finally:
        await database.close()


async def test_without_a_direct_address_hints_do_not_come(pooled: str) -> None:
    found = await listener(pooled, None)
    assert found.level is Level.WARNING and "set DATABASE_DIRECT_URL" in found.message


async def test_with_a_direct_address_they_come(pooled: str, direct: str) -> None:
    found = await listener(pooled, direct)
    assert found.level is Level.OK and "past the pooler" in found.message


async def test_a_direct_address_of_another_database_leaves_a_replica_deaf(
    pooled: str, behind: tuple[TestServer, object]
) -> None:
    async with behind[0].database() as another:
        found = await listener(pooled, another, hears=False)
    assert found.level is Level.PROBLEM and "none has come since the start" in found.message
