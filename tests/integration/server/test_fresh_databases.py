"""The test fixtures themselves: databases are fresh, and killed runs leave nothing behind for long."""

import subprocess
import sys
import time
from pathlib import Path

import asyncpg
from tests.support.postgres import TestServer, server_folder

from workstation.runtimes.exits import is_alive


async def test_a_database_is_empty_and_its_own(database: str, postgres: TestServer) -> None:
    before = time.perf_counter()
    async with postgres.database() as other:
        print(f"fresh database: {(time.perf_counter() - before) * 1000:.0f} ms")
        assert other != database
        one, two = await asyncpg.connect(database), await asyncpg.connect(other)
        await one.execute("create table here (id bigint)")
        assert await two.fetchval("select count(*) from pg_tables where schemaname = 'public'") == 0
        await one.close()
    assert two.is_closed() or not await _answers(two)
    two.terminate()


async def _answers(connection: "asyncpg.Connection[asyncpg.Record]") -> bool:
    try:
        return bool(await connection.fetchval("select true"))
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
        return False


async def test_a_template_is_copied(postgres: TestServer) -> None:
    async with postgres.database() as first:
        connection = await asyncpg.connect(first)
        await connection.execute("create table here as select 7 as id")
        await connection.close()
        async with postgres.database(template=first.split("@/")[1].split("?")[0]) as copy:
            connection = await asyncpg.connect(copy)
            assert await connection.fetchval("select id from here") == 7
            await connection.close()


KILLED = """
import time
from tests.support.postgres import TestServer, server_folder
with server_folder() as folder:
    server = TestServer(folder)
    server.start()
    print(folder, server.server.pid, flush=True)
    time.sleep(60)
"""


def test_what_a_killed_run_left_is_swept_by_the_next() -> None:
    with subprocess.Popen([sys.executable, "-c", KILLED], stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        folder, pid = run.stdout.readline().split()
        run.kill()
    assert is_alive(int(pid)) and Path(folder).exists()
    with server_folder():
        assert not is_alive(int(pid)) and not Path(folder).exists()
