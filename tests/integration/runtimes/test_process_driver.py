"""What only real processes show: sessions, zombies, foreign pids, environments, limits, log bounds."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
import pytest

from workstation.runtimes import log_files
from workstation.runtimes.driver import CopyState, Handle, LaunchSpec, Limits, RuntimeFailure
from workstation.runtimes.identity import launch_of
from workstation.runtimes.process import ProcessDriver
from workstation.runtimes.process_tree import members_of

NOW = timedelta(0)
SECRETS = {"JWT_SECRET": "s3cret", "DATABASE_URL": "postgresql://s3cret", "WORKSTATION_TOKEN": "s3cret"}


@pytest.fixture
async def driver() -> AsyncIterator[ProcessDriver]:
    made = ProcessDriver({"PATH": "/usr/bin:/bin", "HOME": "/home/somebody", **SECRETS}, log_bytes=1000)
    yield made
    await made.close()


def spec(folder: Path, source: str, **changes: Any) -> LaunchSpec:
    run = {"command": [sys.executable, "-S", "-c", source]}
    return replace(LaunchSpec(uuid4(), 1, "a", run, folder / "a.log"), **changes)


async def printed(driver: ProcessDriver, handle: Handle, lines: int = 1) -> list[str]:
    async with asyncio.timeout(30):
        while len(found := await driver.logs(handle, lines)) < lines:
            await asyncio.sleep(0.01)
    return found


async def test_a_copy_inherits_no_secret_of_ours(driver: ProcessDriver, tmp_path: Path) -> None:
    wanted = spec(tmp_path, "import os; print(*sorted(os.environ))", env={"GIVEN": "1"})
    handle = await driver.start(wanted)
    await driver.wait(handle)
    [names] = await printed(driver, handle)
    assert set(names.split()) - {"LC_CTYPE"} == {"PATH", "HOME", "GIVEN", "WORKSTATION_LAUNCH"}


async def test_a_copy_sits_in_a_session_of_its_own(driver: ProcessDriver, tmp_path: Path) -> None:
    handle = await driver.start(spec(tmp_path, "import time; time.sleep(60)"))
    try:
        assert os.getsid(handle["pid"]) == handle["pid"] == os.getpgid(handle["pid"])
    finally:
        await driver.stop(handle, NOW)


FAMILY = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"])
daemon = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"], start_new_session=True)
print(child.pid, daemon.pid, flush=True)
{then}
"""


@pytest.mark.parametrize("grace", [timedelta(seconds=5), NOW])
async def test_a_stop_ends_everything_the_copy_started(driver: ProcessDriver, tmp_path: Path, grace: timedelta) -> None:
    handle = await driver.start(spec(tmp_path, FAMILY.format(then="time.sleep(60)")))
    [pids] = await printed(driver, handle)
    assert (await driver.stats(handle)).processes == 3  # type: ignore[union-attr]
    await driver.stop(handle, grace)
    assert not any(_lives(int(pid)) for pid in pids.split())


async def test_what_a_crashed_copy_left_behind_is_swept_by_a_stop(driver: ProcessDriver, tmp_path: Path) -> None:
    handle = await driver.start(spec(tmp_path, FAMILY.format(then="os._exit(1)")))
    [pids] = await printed(driver, handle)
    assert (await driver.wait(handle)).code == 1
    async with asyncio.timeout(30):
        while {launch_of(int(pid)) for pid in pids.split()} != {handle["launch"]}:
            await asyncio.sleep(0.01)
    await driver.stop(handle, NOW)
    assert not any(_lives(int(pid)) for pid in pids.split())


def _lives(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


async def test_an_ended_copy_leaves_no_zombie_even_if_nobody_asks(driver: ProcessDriver, tmp_path: Path) -> None:
    handle = await driver.start(spec(tmp_path, ""))
    async with asyncio.timeout(30):
        while psutil.pid_exists(handle["pid"]):
            await asyncio.sleep(0.01)
    assert (await driver.inspect(handle)).code == 0


async def test_a_start_that_nobody_waits_for_leaves_no_process(driver: ProcessDriver, tmp_path: Path) -> None:
    wanted = spec(tmp_path, "import time; time.sleep(60)")
    start = asyncio.create_task(driver.start(wanted))
    await asyncio.sleep(0)
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    assert not members_of(str(wanted.launch_id), leader=None)


async def test_a_frozen_copy_can_be_stopped(driver: ProcessDriver, tmp_path: Path) -> None:
    handle = await driver.start(spec(tmp_path, "import time; time.sleep(60)"))
    psutil.Process(handle["pid"]).suspend()
    assert (await driver.stop(handle, timedelta(seconds=0.1))).signal == 9


@pytest.mark.parametrize("wrong", [{"birth": "12"}, {"boot": "another boot"}, {"launch": str(uuid4())}])
async def test_a_pid_that_is_somebody_else_now_is_gone_and_is_not_touched(
    driver: ProcessDriver, tmp_path: Path, wrong: dict[str, str]
) -> None:
    source = "import time; print('up', flush=True); time.sleep(60)"
    handle = await driver.start(spec(tmp_path, source))
    await printed(driver, handle)  # A program that is still being loaded shows no environment yet.
    stale = {**handle, **wrong}
    later = ProcessDriver({})
    try:
        assert (await later.inspect(stale)).state is CopyState.GONE
        await later.wait(stale)
        if "launch" in wrong:
            await later.stop(stale, NOW)
        assert (await driver.inspect(handle)).running
    finally:
        await driver.stop(handle, NOW)


STARTER = """
import asyncio, json, sys, uuid, pathlib
from workstation.runtimes.driver import LaunchSpec
from workstation.runtimes.process import ProcessDriver
async def main():
    log = pathlib.Path(sys.argv[1])
    source = "import time; print('up', flush=True); time.sleep(60)"
    run = {"command": [sys.executable, "-S", "-c", source]}
    handle = await ProcessDriver({}).start(LaunchSpec(uuid.uuid4(), 1, "a", run, log))
    print(json.dumps(handle), flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""


async def test_a_copy_survives_the_kill_of_its_server_and_is_adopted(driver: ProcessDriver, tmp_path: Path) -> None:
    server = await asyncio.create_subprocess_exec(
        sys.executable, "-c", STARTER, str(tmp_path / "a.log"), stdout=subprocess.PIPE
    )
    assert server.stdout is not None
    line = await server.stdout.readline()
    server.kill()
    await server.wait()
    handle = json.loads(line)
    assert (await driver.inspect(handle)).running
    assert await printed(driver, handle) == ["up"]
    waiting = asyncio.create_task(driver.wait(handle))
    await driver.stop(handle, timedelta(seconds=5))
    async with asyncio.timeout(30):
        seen = await waiting
    assert not seen.running and seen.code is None and seen.signal is None


async def test_the_log_is_bounded_while_the_copy_writes(driver: ProcessDriver, tmp_path: Path) -> None:
    source = "import time\nfor n in range(10_000): print('line', n, flush=True); time.sleep(0.001)"
    handle = await driver.start(spec(tmp_path, source))
    log = tmp_path / "a.log"
    try:
        async with asyncio.timeout(20):
            while not log_files.older(log).exists():
                await driver.inspect(handle)
                await asyncio.sleep(0.01)
        before = await driver.logs(handle, 1)
        async with asyncio.timeout(30):
            while await driver.logs(handle, 1) == before:
                await asyncio.sleep(0.01)
        assert log.stat().st_size < 10_000 and b"\0" not in log.read_bytes()
        assert len(await driver.logs(handle, 50)) == 50
    finally:
        await driver.stop(handle, NOW)


async def test_the_memory_limit_holds(driver: ProcessDriver, tmp_path: Path) -> None:
    source = "import time; time.sleep(0.1)\ntry: bytearray(10**9)\nexcept MemoryError: print('refused')"
    handle = await driver.start(spec(tmp_path, source, limits=Limits(memory_bytes=200 * 1024**2)))
    await driver.wait(handle)
    assert await printed(driver, handle) == ["refused"]


async def test_a_limit_that_cannot_be_kept_is_refused(driver: ProcessDriver, tmp_path: Path) -> None:
    with pytest.raises(RuntimeFailure, match="cpus"):
        await driver.start(spec(tmp_path, "", limits=Limits(cpus=0.5)))


async def test_a_file_that_is_no_program_is_refused(driver: ProcessDriver, tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"\x00\x01")
    program.chmod(0o700)
    with pytest.raises(RuntimeFailure, match="could not be started: Exec format error") as refusal:
        await driver.start(spec(tmp_path, "", run={"command": [str(program)]}))
    assert not refusal.value.retryable


async def test_a_program_is_looked_for_relative_to_its_folder(driver: ProcessDriver, tmp_path: Path) -> None:
    program = tmp_path / "hello"
    program.write_text("#!/bin/sh\npwd\n")
    program.chmod(0o700)
    handle = await driver.start(spec(tmp_path, "", run={"command": ["./hello"], "cwd": str(tmp_path)}))
    assert (await driver.wait(handle)).code == 0
    assert await printed(driver, handle) == [str(tmp_path.resolve())]
