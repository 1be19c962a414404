"""A server counts the connections it may open, and does not start where they can never fit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.guardian import guarded_folder
from tests.support.live_server import LiveServer


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder for a server."""
    with guarded_folder() as made:
        yield made


async def test_the_embedded_server_has_room_for_the_pool_that_was_chosen(folder: Path) -> None:
    server = LiveServer(folder, {"WORKSTATION_POOL_SIZE": "90"})
    await server.start()
    assert int(await server.value("show max_connections")) >= 90 + 9
    kept = await server.value("select count(*) from pg_stat_activity where application_name like 'workstation%'")
    assert 1 <= kept <= 90 + 9
    await server.terminate(within=30)


async def test_a_database_with_too_little_room_ends_the_start_with_a_sentence(folder: Path) -> None:
    server = LiveServer(folder)
    await server.start()
    await server.terminate(within=30)
    (next((server.data / "postgres").glob("1*")) / "postgresql.local.conf").write_text("max_connections = 16\n")
    code, said = await server.run("up")
    assert code == 1
    assert "The database allows 13 connections and this server may need 17: raise its max_connections" in said
