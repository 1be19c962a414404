"""One run: build the world, let load and nemesis loose, heal, drain, end everything, and check."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import time
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import asyncpg
import psutil
from tests.chaos import sampler
from tests.chaos.clients import Clients
from tests.chaos.evidence import Evidence, gather_evidence
from tests.chaos.faults import CRASH_POINTS
from tests.chaos.invariants import check
from tests.chaos.nemesis import Nemesis
from tests.chaos.plan import LOADS, Plan
from tests.chaos.recorder import Recorder, read
from tests.chaos.world import World, built_world
from tests.support.guardian import guarded_folder, inhabitants

DRAIN_SECONDS = 300.0
# A lease lapses, the reaper waits out an outage, a retry is backed off: there is always a change within this time.
QUIET_SECONDS = 30.0
COUNTS_SECONDS = 10.0


@dataclass(frozen=True)
class Result:
    """What a run brought: its evidence, and what breaks each invariant."""

    plan: Plan
    evidence: Evidence
    verdicts: Mapping[str, list[str]]
    seconds: float

    @property
    def holds(self) -> bool:
        """Whether every invariant holds."""
        return not any(self.verdicts.values())


@dataclass(frozen=True)
class Choices:
    """source: the tree whose src and sdk/src the processes run. slack: seconds a busy machine may add to each bound.

    keep: a folder that the record and the logs of the run are copied to. drain_seconds: at most, for what is open.
    """

    source: Path
    slack: float = 2.0
    crash_points: tuple[str, ...] = CRASH_POINTS
    environment: Mapping[str, str] | None = None
    keep: Path | None = None
    drain_seconds: float = DRAIN_SECONDS


async def run(plan: Plan, choices: Choices) -> Result:
    """Carry out a plan. Raises where the harness itself is in trouble."""
    began = time.monotonic()
    with guarded_folder() as folder:
        try:
            evidence = await _run_in(folder, plan, choices)
        finally:
            if choices.keep is not None:
                _keep(folder, choices.keep)
    return Result(plan, evidence, check(evidence), time.monotonic() - began)


async def _run_in(folder: Path, plan: Plan, choices: Choices) -> Evidence:
    async with built_world(folder, plan.replicas, choices.source, dict(choices.environment or {})) as world:
        world.crash_points = choices.crash_points
        await _live_through(world, plan, choices.drain_seconds)
        await _stop_servers(world)
        lines = tuple(read(world.record_file))
        evidence = await gather_evidence(world.postgres, lines, plan.replicas, choices.slack)
    _look_for_left_behind(folder, world.record)
    return replace(evidence, lines=tuple(read(world.record_file)))


async def _live_through(world: World, plan: Plan, drain_seconds: float) -> None:
    clients = Clients(world, Recorder(world.record_file, "client"))
    nemesis = Nemesis(world, Recorder(world.record_file, "nemesis"))
    sampling = Recorder(world.record_file, "sampler")
    sampler.measure(world, sampling, "at the beginning")
    try:
        watching = (sampler.sample(world, sampling), sampler.watch_lateness(world, sampling), clients.follow_events())
        async with _beside(*watching):
            async with asyncio.TaskGroup() as both:
                both.create_task(clients.run(plan.submissions))
                both.create_task(nemesis.run(plan.faults))
            await nemesis.heal()
            await _drain(world, plan, drain_seconds)
        await _finish_following(world, clients)
        await clients.statistics()
        sampler.measure(world, sampling, "at the end")
    finally:
        await clients.close()


@asynccontextmanager
async def _beside(*works: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Let these run during the block. One that fails fails the block."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    for failure in ended:
        if isinstance(failure, Exception):
            raise failure


async def _drain(world: World, plan: Plan, most_seconds: float) -> None:
    """Wait until every task is final, or until nothing has changed for so long that the rest never will be.

    What was once lost runs one at a time in each instance, so a few long tasks may take their time.
    """
    patience = QUIET_SECONDS + max(seconds for seconds, _ in LOADS[plan.load].lasting)
    deadline = time.monotonic() + most_seconds
    changed_at, changes = time.monotonic(), None
    while time.monotonic() < min(deadline, changed_at + patience):
        with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            (row,) = await world.postgres.rows(
                "select count(*) filter (where completed_at is null) as open, sum(version) as changes from agent_tasks"
            )
            if row["open"] == 0:
                return
            if row["changes"] != changes:
                changed_at, changes = time.monotonic(), row["changes"]
        await asyncio.sleep(0.2)


async def _finish_following(world: World, clients: Clients) -> None:
    """Read on until there are no more events. The newest may wait for a transaction that is under way."""
    written = await world.postgres.rows("select tx::text || '.' || id as cursor from events")
    world.record("written", events=[row["cursor"] for row in written])
    deadline, quiet = time.monotonic() + COUNTS_SECONDS, 0
    while quiet < 3 and time.monotonic() < deadline:
        read_now = await clients.read_events()
        quiet = quiet + 1 if read_now == 0 else 0
        if not read_now:
            await asyncio.sleep(0.2)


async def _stop_servers(world: World) -> None:
    await asyncio.gather(*(keeper.end() for keeper in world.keepers))
    ended = await asyncio.gather(*(replica.end() for replica in world.replicas))
    for replica, (code, seconds) in zip(world.replicas, ended, strict=True):
        world.record("stopped", replica=replica.number, code=code, seconds=seconds)


def _look_for_left_behind(folder: Path, record: Recorder) -> None:
    for process in inhabitants(folder):
        if process.pid == os.getpid():
            continue
        try:
            command = " ".join(process.cmdline()) or process.name()
            if process.status() != psutil.STATUS_ZOMBIE and "guardian" not in command:
                record("left behind", pid=process.pid, command=command[:200])
        except psutil.NoSuchProcess:
            continue


def _keep(folder: Path, to: Path) -> None:
    to.mkdir(parents=True, exist_ok=True)
    for path in folder.rglob("*"):
        if path.suffix in (".jsonl", ".log", ".out") and path.is_file() and path.stat().st_size:
            shutil.copy(path, to / path.relative_to(folder).as_posix().replace("/", "-"))
