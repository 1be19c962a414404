"""What every runtime driver does alike; run over each of them."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from tests.contract.runtimes.rigs import READY, RIGS, Rig

from workstation.runtimes.driver import CopyState, Driver, Handle, RuntimeFailure

LONG = timedelta(seconds=60)
SHORT = timedelta(seconds=0.2)


@pytest.fixture(params=RIGS)
async def rig(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Rig]:
    made = RIGS[request.param](tmp_path)
    handles: list[tuple[Driver, Handle]] = []
    made.started = handles  # type: ignore[attr-defined]
    yield made
    for driver, handle in handles:
        await driver.stop(handle, timedelta(0))
    for driver in made.drivers:
        await driver.close()


async def launch(rig: Rig, driver: Driver, program: str) -> Handle:
    """Start a program and wait until it has printed that it is ready."""
    handle = await driver.start(rig.spec(program))
    rig.started.append((driver, handle))  # type: ignore[attr-defined]
    async with asyncio.timeout(30):
        while await driver.logs(handle, 1) != [READY]:
            await asyncio.sleep(0.01)
    return handle


async def test_a_started_copy_is_seen_running(rig: Rig) -> None:
    driver = rig.fresh()
    handle = await launch(rig, driver, "serves")
    assert (await driver.inspect(handle)).running
    usage = await driver.stats(handle)
    assert usage is not None and usage.processes >= 1


async def test_a_copy_that_obeys_ends_before_the_grace(rig: Rig) -> None:
    driver = rig.fresh()
    handle = await launch(rig, driver, "serves")
    async with asyncio.timeout(LONG.total_seconds()):
        seen = await driver.stop(handle, LONG)
    assert (seen.state, seen.code, seen.signal) == (CopyState.EXITED, None, 15)
    assert await driver.stats(handle) is None


async def test_a_copy_that_ignores_the_request_is_killed_after_the_grace(rig: Rig) -> None:
    driver = rig.fresh()
    handle = await launch(rig, driver, "stubborn")
    before = asyncio.get_running_loop().time()
    seen = await driver.stop(handle, SHORT)
    assert (seen.state, seen.signal) == (CopyState.EXITED, 9)
    assert asyncio.get_running_loop().time() - before >= SHORT.total_seconds()


async def test_stopping_twice_is_stopping_once(rig: Rig) -> None:
    driver = rig.fresh()
    handle = await launch(rig, driver, "serves")
    first = await driver.stop(handle, LONG)
    assert await driver.stop(handle, LONG) == first


async def test_two_stops_at_once_both_see_the_end(rig: Rig) -> None:
    driver = rig.fresh()
    handle = await launch(rig, driver, "serves")
    first, second = await asyncio.gather(driver.stop(handle, LONG), driver.stop(handle, LONG))
    assert first == second and first.state is CopyState.EXITED


async def test_a_crash_is_seen_with_its_code(rig: Rig) -> None:
    driver = rig.fresh()
    handle = await launch(rig, driver, "crashes")
    async with asyncio.timeout(30):
        seen = await driver.wait(handle)
    assert (seen.state, seen.code, seen.signal) == (CopyState.EXITED, 3, None)
    assert await driver.inspect(handle) == seen


async def test_a_missing_program_is_refused_by_name_and_for_good(rig: Rig) -> None:
    with pytest.raises(RuntimeFailure, match="no-such-program-anywhere") as refusal:
        await rig.fresh().start(rig.spec("missing"))
    assert not refusal.value.retryable


async def test_a_fresh_driver_finds_a_running_copy_by_its_stored_handle(rig: Rig) -> None:
    first = rig.fresh()
    handle = rig.stored(await launch(rig, first, "serves"))
    await first.close()
    second = rig.fresh()
    assert (await second.inspect(handle)).running
    assert await second.logs(handle, 5) == [READY]
    seen = await second.stop(handle, LONG)
    assert not seen.running
    assert (await second.inspect(handle)).state in (CopyState.EXITED, CopyState.GONE)


async def test_a_fresh_driver_waits_for_a_copy_it_did_not_start(rig: Rig) -> None:
    first, second = rig.fresh(), rig.fresh()
    handle = rig.stored(await launch(rig, first, "serves"))
    waiting = asyncio.create_task(second.wait(handle))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    await first.stop(handle, LONG)
    async with asyncio.timeout(30):
        assert not (await waiting).running


async def test_following_shows_the_output_and_ends_with_the_copy(rig: Rig) -> None:
    driver = rig.fresh()
    handle = await launch(rig, driver, "crashes")
    async with asyncio.timeout(30):
        assert [line async for line in driver.follow(handle)] == [READY]


async def test_a_stranger_to_the_machine_is_gone(rig: Rig) -> None:
    driver = rig.fresh()
    handle = await launch(rig, driver, "serves")
    stranger = {**handle, "launch": "00000000-0000-4000-8000-000000000000", "birth": "1"}
    assert (await rig.fresh().inspect(stranger)).state is CopyState.GONE
    await rig.fresh().stop(stranger, LONG)
    assert (await driver.inspect(handle)).running
