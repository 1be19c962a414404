"""`python -m benchmarks.growth [--quick]`: what a task costs as the tables grow, beside a fresh one."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import psutil

from benchmarks.growth.fill import Tables, tables
from benchmarks.growth.report import Point, markdown, verdicts
from benchmarks.machine import machine
from benchmarks.ours.participant import STALL_SECONDS, Bench, bench_on
from benchmarks.ours.server import running_server
from benchmarks.processes import ROOT
from benchmarks.sample import Sample

MEASURED = 20_000
OLD_TASKS = 2_000_000
RETENTION_TURNS = 4
RETENTION_MEASURED = 40_000


@dataclass
class Growth:
    """A run under way: every point is measured with an agent of its own, on the same server."""

    bench: Bench
    tables: Tables
    scale: float
    points: list[Point] = field(default_factory=list)

    def of(self, amount: int) -> int:
        """The scaled amount."""
        return int(amount * self.scale)

    async def measure(self, name: str, *, backlog: int, against: str | None = None, due: int = 5) -> Point:
        """Drain MEASURED tasks of a backlog of so many; the rest stays where it is."""
        await self.new_agent()
        await self.tables.pending(self.bench.agent_id, backlog, priority=due)
        await self.tables.settle_down()
        return await self.drain(name, min(RETENTION_MEASURED, backlog), against)

    async def new_agent(self) -> str:
        """An agent of its own, so that its lane has nothing but what is put there."""
        self.bench.agent_id = await self.bench.face.register(f"growth-{len(self.points)}-{time.monotonic_ns()}")
        self.bench.agent_token = await self.bench.server.token("--role", "agent", "--agent", self.bench.agent_id)
        return self.bench.agent_id

    async def drain(self, name: str, tasks: int, against: str | None) -> Point:
        """Let an agent begin so many tasks."""
        async with self.bench.agent("count", str(tasks)) as agent:
            await agent.until("first", STALL_SECONDS)
            watch, before = self.bench.watch(agent), await self.claim_cpu()
            await agent.until("last", STALL_SECONDS)
            phase, claim = watch.phase(tasks), await self.claim_cpu() - before
        point = Point(name, phase.rate, phase.micros("postgres"), claim / tasks * 1e6, against)
        self.points.append(point)
        print(f"{name}: {point.rate:,.0f} tasks/s, {point.postgres:.1f} µs of PostgreSQL, claim {point.claim:.1f} µs")
        return point

    async def claim_cpu(self) -> float:
        """Processor seconds of the connection that claims."""
        pid = await self.tables.backend("claim")
        if pid is None:
            return 0.0
        times = psutil.Process(pid).cpu_times()
        return float(times.user + times.system)

    async def churn(self, tasks: int) -> None:
        """Put so many tasks through a whole life."""
        agent_id = await self.new_agent()
        await self.tables.pending(agent_id, tasks)
        async with self.bench.agent("count", str(tasks)) as agent:
            await agent.until("last", 600)
            await self.bench.face.wait_settled(agent_id, tasks)


async def run(growth: Growth) -> dict[str, object]:
    """Every point; the facts beside them."""
    fresh = "fresh, 20k pending"
    await growth.churn(MEASURED)  # the first drain of a process warms it up
    await growth.measure(fresh, backlog=MEASURED)
    for pending in (200_000, 1_000_000):
        await growth.measure(f"{growth.of(pending):,} pending", backlog=growth.of(pending), against=fresh)
    await growth.new_agent()
    await growth.tables.pending(growth.bench.agent_id, growth.of(1_000_000), priority=10, due_in=timedelta(days=1))
    await growth.tables.pending(growth.bench.agent_id, MEASURED, priority=5)
    await growth.tables.settle_down()
    await growth.drain(f"{growth.of(1_000_000):,} not yet due in front", MEASURED, fresh)
    await growth.churn(growth.of(1_000_000))
    await growth.measure(f"after {growth.of(1_000_000):,} churned", backlog=MEASURED, against=fresh)
    began = time.monotonic()
    await growth.tables.finished(await growth.new_agent(), growth.of(10_000_000))
    filled = time.monotonic() - began
    await growth.measure(f"with {growth.of(10_000_000):,} finished", backlog=MEASURED, against=fresh)
    return {
        "the table of tasks at the end, with its indexes": f"{await growth.tables.size_mb():,.0f} MB",
        f"making {growth.of(10_000_000):,} finished rows took": f"{filled:.0f} s",
    }


async def retention(folder: Path, scale: float) -> tuple[list[Point], int]:
    """The queue with and without the janitor dropping old tasks, in turn on one folder; how many it dropped."""
    points: list[Point] = []
    dropped = 0
    for turn in range(1, RETENTION_TURNS + 1):
        async with grown(folder, scale, keep_days=3650) as growth:
            if turn == 1:
                await growth.tables.finished(await growth.new_agent(), growth.of(OLD_TASKS), ago=timedelta(days=90))
                await growth.churn(MEASURED)
            name = f"old tasks are kept, turn {turn}"
            points.append(await growth.measure(name, backlog=RETENTION_MEASURED))
        async with grown(folder, scale, keep_days=30) as growth:
            before = await growth.tables.count_old()
            name = f"retention drops old tasks, turn {turn}"
            points.append(await growth.measure(name, backlog=RETENTION_MEASURED, against=points[-1].name))
            gone = before - await growth.tables.count_old()
            if not gone:
                raise RuntimeError("retention was not at work during the measurement")
            dropped += gone
    return points, dropped


@asynccontextmanager
async def grown(folder: Path, scale: float, *, keep_days: int = 30) -> AsyncIterator[Growth]:
    """A server on a folder, with what is needed to make it grow."""
    async with (
        running_server(folder, WORKSTATION_KEEP_TASKS_DAYS=str(keep_days)) as server,
        bench_on(server, Sample(), f"growth-{time.monotonic_ns()}") as bench,
        tables(server) as found,
    ):
        yield Growth(bench, found, scale)


async def main(scale: float, out: Path, *, retention_alone: bool) -> int:
    """The whole run; the exit code: 1 when a goal is missed."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="growth-", dir=ROOT.parent, ignore_cleanup_errors=True) as temporary:
        points: list[Point] = []
        facts: dict[str, object] = {}
        if not retention_alone:
            async with grown(Path(temporary) / "data", scale) as growth:
                facts = await run(growth)
            points = growth.points
        more, dropped = await retention(Path(temporary) / "old", scale)
    points = points + more
    facts["old tasks dropped while the queue ran"] = f"{dropped:,}"
    facts["took"] = f"{(time.monotonic() - began) / 60:.1f} minutes"
    text = "\n".join(markdown(points, machine(), facts)) + "\n"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text)
    print(text)
    return 0 if all(verdict.met for verdict in verdicts(points)) else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of every size, under 3 minutes")
    parser.add_argument("--retention", action="store_true", help="the queue with and without retention alone")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/growth.md", metavar="FILE")
    asked = parser.parse_args()
    sys.exit(asyncio.run(main(0.1 if asked.quick else 1.0, asked.out, retention_alone=asked.retention)))
