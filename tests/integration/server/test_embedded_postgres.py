"""The embedded PostgreSQL as real processes: made whole, adopted, restarted, not misled by stale files."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import asyncpg
import psutil
import pytest
from tests.support.postgres import OPTIONS, server_folder

from workstation.runtimes.exits import is_alive
from workstation.server.postgres import EmbeddedPostgres, PostgresEvent, PostgresFailure
from workstation.server.postgres.account import Account
from workstation.server.postgres.binaries import Binaries, find_binaries, within_reach
from workstation.server.postgres.layout import LONGEST_SOCKET_PATH

AS_ROOT = os.geteuid() == 0


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """One cluster for this module, under a folder that no other user can enter."""
    with server_folder() as made:
        yield made


@pytest.fixture
def other_folder() -> Iterator[Path]:
    """A folder for one more server."""
    with server_folder() as made:
        yield made


def made_in(folder: Path) -> EmbeddedPostgres:
    return EmbeddedPostgres(folder / "postgres", folder / "postgres.log", replace(OPTIONS, durable=True))


@pytest.fixture
async def server(folder: Path) -> AsyncIterator[EmbeddedPostgres]:
    made = made_in(folder)
    await made.start()
    yield made
    await made.stop()


def pid_of(server: EmbeddedPostgres) -> int:
    assert server.pid is not None
    return server.pid


async def value(dsn: str, statement: str) -> object:
    connection = await asyncpg.connect(dsn, timeout=10)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


async def test_it_serves_a_database_and_stops_for_good(server: EmbeddedPostgres) -> None:
    assert await server.is_ready()
    assert await value(server.dsn, "select current_database() || current_user") == "workstationworkstation"
    await server.stop()
    assert not is_alive(pid_of(server)) and not await server.is_ready()
    await server.stop()


async def test_the_second_start_is_quick(server: EmbeddedPostgres, folder: Path) -> None:
    await server.stop()
    before = time.perf_counter()
    await server.start()
    took = time.perf_counter() - before
    print(f"second start: {took * 1000:.0f} ms")
    assert await server.is_ready() and took < 5  # Alone on a machine 0.1 s; others may use it too.


async def test_it_is_set_up_as_promised(server: EmbeddedPostgres) -> None:
    wanted = {
        "listen_addresses": "",
        "synchronous_commit": "on",
        "fsync": "on",
        "jit": "off",
        "TimeZone": "UTC",
        "data_checksums": "on",
        "server_encoding": "UTF8",
        "io_method": "worker",
        "max_connections": "60",
        "idle_in_transaction_session_timeout": "1min",
        "wal_compression": "off",
        "unix_socket_permissions": "0700",
    }
    for name, setting in wanted.items():
        assert await value(server.dsn, f"show {name}") == setting, name
    provider = "select datlocprovider::text from pg_database where datname = current_database()"
    assert await value(server.dsn, provider) == "b"
    assert await value(server.dsn, "select count(*) from pg_file_settings where not applied") == 0


async def test_nobody_else_gets_at_data_or_socket(server: EmbeddedPostgres, folder: Path) -> None:
    for name in ("18", "socket"):
        assert (folder / "postgres" / name).stat().st_mode & 0o077 == 0
    assert not any(connection.laddr for connection in psutil.Process(pid_of(server)).net_connections("inet"))
    assert os.getsid(pid_of(server)) == pid_of(server)
    if AS_ROOT:
        owner = (folder / "postgres" / "18").stat().st_uid
        assert psutil.Process(pid_of(server)).uids().real == owner != 0
        attempt = subprocess.run(
            ["/bin/ls", "."],
            cwd=folder / "postgres",
            user=owner,
            group=owner,
            extra_groups=[],
            capture_output=True,
        )
        assert attempt.returncode != 0


@pytest.mark.skipif(not AS_ROOT, reason="only root can become another user")
async def test_the_kernel_must_vouch_for_who_connects(server: EmbeddedPostgres, folder: Path) -> None:
    """Even the server's own account, for which the socket is open, is not believed."""
    owner = (folder / "postgres" / "18").stat().st_uid
    psql = find_binaries().program("psql")
    attempt = subprocess.run(
        [psql, "-h", "/proc/self/cwd", "-U", "workstation", "-c", "select 1"],
        cwd=folder / "postgres" / "socket",
        user=owner,
        group=owner,
        extra_groups=[],
        capture_output=True,
        text=True,
    )
    assert attempt.returncode != 0 and "Peer authentication failed" in attempt.stderr


STARTER = """
import asyncio, pathlib, sys
from tests.integration.server.test_embedded_postgres import made_in
async def main():
    server = made_in(pathlib.Path(sys.argv[1]))
    await server.start()
    print(server.pid, server.adopted, flush=True)
    await asyncio.sleep(float(sys.argv[2]))
asyncio.run(main())
"""


def starter(folder: Path, lives: float) -> "subprocess.Popen[str]":
    return subprocess.Popen([sys.executable, "-c", STARTER, folder, str(lives)], stdout=subprocess.PIPE, text=True)


async def test_a_server_whose_starter_was_killed_is_adopted(server: EmbeddedPostgres, folder: Path) -> None:
    await server.stop()
    with starter(folder, 60) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline().split()[0])
        process.kill()
    assert is_alive(pid)
    await server.start()
    assert server.adopted and server.pid == pid and await server.is_ready()
    await server.stop()
    assert not is_alive(pid)


async def test_of_two_starters_at_once_one_starts_and_one_adopts(server: EmbeddedPostgres, folder: Path) -> None:
    await server.stop()
    with starter(folder, 0) as one, starter(folder, 0) as other:
        assert one.stdout is not None and other.stdout is not None
        told = sorted((one.stdout.readline().split(), other.stdout.readline().split()), key=lambda line: line[1])
    assert told[0][0] == told[1][0]
    assert [line[1] for line in told] == ["False", "True"]


async def test_what_was_committed_survives_the_kill_of_the_server(server: EmbeddedPostgres) -> None:
    await value(server.dsn, "create table if not exists kept as select 42 as answer")
    os.kill(pid_of(server), signal.SIGKILL)
    async with asyncio.timeout(30):
        while is_alive(pid_of(server)):
            await asyncio.sleep(0.005)
    await server.start()
    assert not server.adopted
    assert await value(server.dsn, "select answer from kept") == 42


async def test_a_session_that_outlived_its_killed_server_is_ended_first(server: EmbeddedPostgres) -> None:
    connection = await asyncpg.connect(server.dsn)
    backend = connection.get_server_pid()
    busy = asyncio.create_task(connection.execute("select count(*) from generate_series(1, 10000000000)"))
    await asyncio.sleep(0.1)
    os.kill(pid_of(server), signal.SIGKILL)
    await asyncio.sleep(0.1)
    assert is_alive(backend)
    await server.start()
    assert not is_alive(backend) and await server.is_ready()
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
        await busy
    connection.terminate()


async def test_a_stale_pid_file_that_names_a_stranger_is_not_believed(server: EmbeddedPostgres, folder: Path) -> None:
    await server.stop()
    data = folder / "postgres" / "18"
    owner = data.stat().st_uid
    user = owner if AS_ROOT else None
    stranger = subprocess.Popen(["sleep", "60"], cwd="/", user=user, group=user)
    try:
        text = f"{stranger.pid}\n{data}\n1700000000\n5432\n../socket\n\n  1 1\nready   \n"
        for lock in (data / "postmaster.pid", folder / "postgres" / "socket" / ".s.PGSQL.5432.lock"):
            lock.write_text(text)
            os.chown(lock, owner, owner if AS_ROOT else -1)
        await server.start()
        assert server.pid != stranger.pid and not server.adopted and await server.is_ready()
        assert stranger.poll() is None
        await server.stop()
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


async def test_a_watched_server_comes_back_and_says_so(server: EmbeddedPostgres) -> None:
    events: asyncio.Queue[PostgresEvent] = asyncio.Queue()
    watching = asyncio.create_task(server.watch(events.put_nowait))
    first = pid_of(server)
    for _ in range(2):
        os.kill(pid_of(server), signal.SIGQUIT)
        async with asyncio.timeout(30):
            assert (await events.get()).kind == "died"
            assert (await events.get()).kind == "restarted"
        assert await server.is_ready()
    assert server.pid != first
    await server.stop()
    async with asyncio.timeout(30):
        await watching
    assert events.empty()


async def test_a_watched_server_that_cannot_start_is_tried_again(server: EmbeddedPostgres, folder: Path) -> None:
    events: asyncio.Queue[PostgresEvent] = asyncio.Queue()
    broken = folder / "postgres" / "18" / "postgresql.local.conf"
    broken.write_text("shared_buffers = nonsense\n")
    broken.chmod(0o644)
    watching = asyncio.create_task(server.watch(events.put_nowait))
    os.kill(pid_of(server), signal.SIGQUIT)
    try:
        async with asyncio.timeout(20):
            assert (await events.get()).kind == "died"
            failed = await events.get()
            assert failed.kind == "restart_failed" and "FATAL" in failed.detail
            broken.unlink()
            while (await events.get()).kind != "restarted":
                continue
        assert await server.is_ready()
    finally:
        with suppress(FileNotFoundError):
            broken.unlink()
        await server.stop()
        await watching


async def test_data_of_a_newer_version_are_refused_and_kept(tmp_path: Path) -> None:
    newer = tmp_path / "postgres" / "19"
    newer.mkdir(parents=True)
    (newer / "PG_VERSION").write_text("19\n")
    with pytest.raises(PostgresFailure, match=r"are of PostgreSQL 19, and the installed programs are 18: install"):
        await made_in(tmp_path).start()
    assert sorted(path.name for path in (tmp_path / "postgres").iterdir()) == ["19", "socket"]


async def test_a_kill_while_the_cluster_is_made_costs_nothing(other_folder: Path) -> None:
    with starter(other_folder, 60) as process:
        async with asyncio.timeout(30):
            while not list(other_folder.glob("postgres/.new-*/global")):
                await asyncio.sleep(0.001)
        process.kill()
    assert not (other_folder / "postgres" / "18").exists()
    server = made_in(other_folder)
    await server.start()
    assert await server.is_ready() and not server.adopted
    await server.stop()
    assert sorted(path.name for path in (other_folder / "postgres").iterdir()) == ["18", "socket"]


async def test_a_half_made_cluster_is_made_again_and_a_long_path_gets_an_alias(other_folder: Path) -> None:
    deep = other_folder / ("d" * 60) / ("e" * 60)
    half = deep / "postgres" / ".new-killed"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    options = replace(OPTIONS, runtime_folder=other_folder)
    server = EmbeddedPostgres(deep / "postgres", deep / "log", options)
    await server.start()
    assert not half.exists() and await server.is_ready()
    assert len(server.dsn) < LONGEST_SOCKET_PATH + 60 and str(deep) not in server.dsn
    again = EmbeddedPostgres(deep / "postgres", deep / "log", options)
    assert await again.start() == server.dsn
    await EmbeddedPostgres(deep / "postgres", deep / "log", options).stop()
    assert not await server.is_ready()


async def test_a_full_disk_is_one_clear_sentence(other_folder: Path) -> None:
    full = other_folder / "full"
    full.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", full], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("mounting a small disk needs root")
    try:
        with pytest.raises(PostgresFailure, match="the disk is full; free some space") as refusal:
            await made_in(full).start()
        assert "\n" not in str(refusal.value)
        assert [path.name for path in (full / "postgres").iterdir()] == ["socket"]
    finally:
        subprocess.run(["umount", full], check=True)


@pytest.mark.skipif(not AS_ROOT, reason="an ordinary user runs the programs where they are")
def test_programs_out_of_reach_are_copied_once(tmp_path: Path, other_folder: Path) -> None:
    found = find_binaries()
    hidden = tmp_path / "hidden"
    hidden.mkdir(mode=0o700)
    (hidden / "pg").symlink_to(found.folder)
    shared = other_folder / "shared"
    opened = (other_folder, other_folder.parent)
    for path in opened:
        path.chmod(0o711)
    try:
        account = Account(64218, 64218)
        copy = within_reach(Binaries(hidden / "pg", found.version), account, shared)
        assert copy.folder.parent == shared and copy.folder.stat().st_uid == 0
        assert within_reach(Binaries(hidden / "pg", found.version), account, shared) == copy
        assert len(list(shared.iterdir())) == 1
    finally:
        for path in opened:
            path.chmod(0o700)
