"""The raw limit as a participant: how many whole lives a second PostgreSQL itself allows."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import asyncpg

from benchmarks.postgres import Postgres
from benchmarks.processes import Program
from benchmarks.sample import Effort, Phase, Sample


@dataclass(frozen=True)
class Shape:
    """So many connections, each with so many rows a transaction, for so many tasks."""

    name: str
    connections: int
    batch: int
    tasks: int


SHAPES = (
    Shape("single", 16, 1, 16_000),
    Shape("batch_100", 4, 100, 100_000),
    Shape("batch_500", 4, 500, 100_000),
)


@dataclass(frozen=True)
class PostgresLimit:
    """Insert, claim and complete on a table with the real one's shape and queue index, through asyncpg."""

    postgres: Postgres
    name: str = "postgres_limit"
    note: str = (
        "No product: three statements on a bare table with the queue index; one row a transaction at 16 "
        "connections, batches of 100 and 500 at 4."
    )

    async def prepare(self) -> str | None:
        """Needs nothing."""
        return None

    async def version(self) -> str:
        """The server's and the driver's version."""
        connection = await asyncpg.connect(self.postgres.dsn())
        try:
            server = await connection.fetchval("show server_version")
            return f"PostgreSQL {server}, asyncpg {asyncpg.__version__}"
        finally:
            await connection.close()

    async def measure(self, effort: Effort) -> Sample:
        """Every shape on a fresh database."""
        sample = Sample()
        for shape in SHAPES:
            await self._measure_shape(shape, effort, sample)
        return sample

    async def _measure_shape(self, shape: Shape, effort: Effort, sample: Sample) -> None:
        once = shape.connections * shape.batch
        tasks = max(1, effort.of(shape.tasks) // once) * once
        async with self.postgres.database("bench_limit") as dsn:
            numbers = map(str, (shape.connections, shape.batch, tasks))
            client = await Program.start(sys.executable, "-m", "benchmarks.limit.client", dsn, *numbers)
            try:
                await client.until("start", 60)
                before = self.postgres.cpu_seconds()
                report = await client.until("done", 300)
                server = self.postgres.cpu_seconds() - before
            finally:
                await client.stop()
        if report["tasks"] != tasks:
            raise RuntimeError(f"{report['tasks']} of {tasks} tasks were claimed; the limit is not measured")
        cpu = {"postgres": server, "client": report["cpu"]}
        sample.phases[f"lives_{shape.name}"] = Phase(tasks, sum(report["seconds"].values()), cpu)
        for step, seconds in report["seconds"].items():
            sample.values[f"{step}_{shape.name}_per_s"] = tasks / seconds
