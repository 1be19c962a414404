"""Data that an older PostgreSQL made, by its real programs, are upgraded by the next start, and stay."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest
from tests.support.postgres import OPTIONS, server_folder

from workstation.server.postgres import EmbeddedPostgres, PostgresFailure
from workstation.server.postgres.account import give_away, maker_account, server_account
from workstation.server.postgres.binaries import Binaries, find_older, within_reach
from workstation.server.postgres.layout import ROLE, Layout, dsn, prepare
from workstation.server.postgres.programs import place, run
from workstation.server.postgres.upgrade import running
from workstation.store import restored
from workstation.store.database import Database
from workstation.store.migrate import migrate

OLD = 16  # The wheel has its programs, so it is on every machine.
EVENTS = "select id from events where tx < pg_snapshot_xmin(pg_current_snapshot()) order by tx, id"
TASKS = "select id, status, payload from agent_tasks order by id"


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder for a server."""
    with server_folder() as made:
        yield made


def old_programs(folder: Path) -> Binaries:
    found = find_older(OLD, None)
    return within_reach(found, server_account(folder / "postgres" / str(OLD)), OPTIONS.shared_folder)


def make_cluster(layout: Layout, programs: Binaries) -> None:
    """A data folder as the old version makes it."""
    account = server_account(layout.data)
    maker = maker_account(account)
    prepare(layout, account)
    layout.data.mkdir(mode=0o700)
    if maker is not None:
        os.chown(layout.data, maker.uid, maker.gid)
    here = ["-D", place(layout.data, maker)]
    made = run(
        [programs.program("initdb"), *here, f"--username={ROLE}", "--locale=C", "--encoding=UTF8"], layout.data, maker
    )
    assert made.returncode == 0, made.stderr
    single = [programs.program("postgres"), "--single", "-j", *here, "template1"]
    run(single, layout.data, maker, text='create database "workstation"\n\n')
    if account is not None:
        give_away(layout.data, account)


async def fill(address: str) -> list[asyncpg.Record]:
    """A registry, tasks and events, written by transactions with high numbers."""
    database = await Database.connect(address)
    await migrate(database)
    await database.close()
    connection = await asyncpg.connect(address)
    await connection.execute("do $$ begin for n in 1..9000 loop perform pg_current_xact_id(); commit; end loop; end $$")
    await connection.execute("insert into agent_registry (name, type) values ('kept', 'custom')")
    for number in range(50):
        await connection.execute(
            "insert into agent_tasks (agent_id, type, payload) values (1, 't', jsonb_build_object('n', $1::int))",
            number,
        )
        await connection.execute("insert into events (type) values ('told')")
    rows = await connection.fetch(TASKS)
    await connection.close()
    return list(rows)


async def test_data_of_an_older_version_are_upgraded_and_the_old_ones_stay(folder: Path) -> None:
    old = Layout(folder / "postgres", OLD)
    programs = old_programs(folder)
    make_cluster(old, programs)
    with running(old, programs, OPTIONS, folder / "log", bare=True) as sockets:
        before = await fill(dsn(sockets, "workstation"))
    leftover = folder / "postgres" / ".upgrading" / "18"
    leftover.mkdir(parents=True)
    (leftover / "PG_VERSION").write_text("18\n")
    told: list[str] = []
    server = EmbeddedPostgres(folder / "postgres", folder / "log", replace(OPTIONS, tell=told.append))
    database = await Database.connect(await server.start())
    try:
        assert await migrate(database) == []
        assert await restored.adopt_transactions(database) and not await restored.adopt_transactions(database)
        async with database.session() as connection:
            assert await connection.fetch(TASKS) == before and len(before) == 50
            assert len(await connection.fetch(EVENTS)) == 50
            assert await connection.fetchval("select sum(pending) from task_counts") == 50
            assert await connection.fetchval("select nextval('agent_tasks_id_seq')") == 51
            assert await connection.fetchval("show server_version_num") >= "180000"
    finally:
        await database.close()
        await server.stop()
    assert "upgrading the database from PostgreSQL 16 to 18" in told[0]
    assert sorted(path.name for path in (folder / "postgres").iterdir()) == ["16", "18", "socket"]
    told.clear()
    await server.start()
    await server.stop()
    assert told == []


async def test_without_the_old_programs_a_sentence_says_what_to_install(folder: Path) -> None:
    old = folder / "postgres" / "14"
    old.mkdir(parents=True)
    (old / "PG_VERSION").write_text("14\n")
    options = replace(OPTIONS, older_programs=folder / "nothing")
    server = EmbeddedPostgres(folder / "postgres", folder / "log", options)
    with pytest.raises(PostgresFailure, match=r"apt-get install postgresql-14.*WORKSTATION_OLD_POSTGRES"):
        await server.start()
    assert sorted(path.name for path in (folder / "postgres").iterdir()) == ["14", "socket"]
