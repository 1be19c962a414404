"""What a replica tells of itself: each trouble is made for real, and a well replica reports none."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from tests.support.spine import Spine, until

from workstation.dispatch.wakeups import Wakeups
from workstation.domain.errors import Unavailable
from workstation.domain.findings import Finding, Level
from workstation.engine.loop import Loop
from workstation.server import checkup
from workstation.server.checkup import Checkup
from workstation.store.database import Database

OK, WARNING, PROBLEM = Level.OK, Level.WARNING, Level.PROBLEM


@asynccontextmanager
async def replica(database: Database, *loops: Loop, hears: bool = True) -> AsyncIterator[Checkup]:
    """A replica that listens, and what examines it. hears: wait until it does, where it can."""
    wakeups = Wakeups(database, uuid4(), lambda _kind, _names: None)
    listening = asyncio.create_task(wakeups.listen())
    if database.can_listen and hears:
        await until(lambda: wakeups.hears)
    try:
        yield Checkup(database, wakeups, Path("/"), lambda: loops)
    finally:
        listening.cancel()
        with suppress(asyncio.CancelledError):
            await listening


async def about(checkup: Checkup, subject: str) -> Finding:
    """The one finding about a subject."""
    (found,) = (finding for finding in (await checkup.examine()).findings if finding.subject == subject)
    return found


OWN = ("pool", "kept connections", "loops", "listener")


async def test_a_well_replica_reports_no_trouble(spine: Spine) -> None:
    async with replica(spine.database) as well:
        examined = await well.examine()
    assert {finding.subject: finding.level for finding in examined.findings if finding.subject in OWN} == dict.fromkeys(
        OWN, OK
    )
    assert examined.database_time is not None


async def test_an_exhausted_pool_is_found_and_the_examination_ends_all_the_same(spine: Spine) -> None:
    database = await Database.connect(spine.dsn, pool_size=2)
    async with replica(database) as busy, database.session(), database.session():
        with pytest.raises(Unavailable):
            async with database.session():
                pass
        found = await about(busy, "pool")
        assert found.level is PROBLEM
        assert "for a connection of the pool of 2, the longest for 1." in found.message
        assert (await about(busy, "database")).level is PROBLEM
    await database.close()


async def test_waits_for_a_connection_are_a_warning_while_none_is_in_vain(spine: Spine) -> None:
    database = await Database.connect(spine.dsn, pool_size=1)

    async def hold() -> None:
        async with database.session() as connection:
            await connection.execute("select pg_sleep(0.7)")

    async with replica(database) as busy:
        await asyncio.gather(hold(), hold())
        found = await about(busy, "pool")
        assert found.level is WARNING and ", 0 in vain" in found.message
    await database.close()


async def test_a_kept_connection_that_is_cut_again_and_again_is_found(spine: Spine) -> None:
    database = await Database.connect(spine.dsn, pool_size=2)
    hot = database.hot("submit")

    async def ask(connection: Any) -> int:
        return int(await connection.fetchval("select pg_backend_pid()"))

    async with replica(database) as suffering:
        for cuts in range(4):
            pid = await hot.run(ask)
            assert (await about(suffering, "kept connections")).level is (WARNING if cuts > 2 else OK)
            await spine.execute("select pg_terminate_backend($1)", pid)
            await asyncio.sleep(0.05)
    await database.close()


async def test_a_loop_that_fails_is_found(spine: Spine) -> None:
    async def step() -> int:
        raise ValueError("it is broken")

    loop = Loop("reaper", step, interval=timedelta(seconds=60), batch=1)
    running = asyncio.create_task(loop.run())
    await until(lambda: loop.status.failures > 0)
    async with replica(spine.database, loop) as failing:
        found = await about(failing, "loops")
    assert found.level is PROBLEM and "`reaper`" in found.message and "it is broken" in found.message
    running.cancel()


async def test_a_listener_whose_connection_is_deaf_is_found_and_listens_again(
    spine: Spine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with replica(spine.database) as deaf:
        assert (await about(deaf, "listener")).level is OK
        # As when the connection is half open: PostgreSQL no longer knows of it, and nobody has told us.
        listen = Database.listen

        async def unheard(self: Database, channel: str, *rest: Any) -> asyncpg.Connection[asyncpg.Record]:
            connection = await listen(self, channel, *rest)
            await connection.execute(f"unlisten {channel}")
            return connection

        with monkeypatch.context() as patched:
            patched.setattr(Database, "listen", unheard)
            await spine.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where datname = current_database() and query ~* '^listen'"
            )
            await until(lambda: not deaf.wakeups.hears)
            found = await about(deaf, "listener")
            assert found.level is PROBLEM and "does not come within 2 s (the last came " in found.message
        await until(lambda: deaf.wakeups.hears, within=10)
        assert (await about(deaf, "listener")).level is OK


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)], check=False)
    if mounted.returncode != 0 or os.geteuid() != 0:
        pytest.skip("only root may mount a small file system")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_disk_that_is_nearly_full_is_found(small_disk: Path) -> None:
    [found] = checkup.disk(small_disk)
    assert found.level is PROBLEM and "Only 0.0 GiB are free" in found.message


def test_a_roomy_disk_is_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkup, "LOW_GIB", 0)
    monkeypatch.setattr(checkup, "LEAST_GIB", 0)
    assert [found.level for found in checkup.disk(tmp_path)] == [OK]
