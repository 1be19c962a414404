"""Rows made by the database itself: a million takes seconds this way, and minutes through the API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import asyncpg

from benchmarks.ours.server import Server

CHUNK = 250_000
NOW = timedelta()
PAYLOAD = "jsonb_build_object('n', n, 'pad', repeat('x', 170))"
PENDING = f"""
insert into agent_tasks (agent_id, type, payload, created_by, priority, run_at)
select $1, 'noop', {PAYLOAD}, 'bench-0', $2, now() + $3::interval from generate_series($4::int, $5::int) n
"""
# The payload is short: what matters is how many rows and index entries there are. The triggers would count each chunk.
FINISHED = """
insert into agent_tasks
    (agent_id, type, payload, created_by, status, attempt, result, created_at, started_at, completed_at)
select $1, 'noop', '{"n": 1}', 'bench-0', 'completed', 1, '{"ok": true}', now() - $2::interval, now() - $2::interval,
       now() - $2::interval
from generate_series($3::int, $4::int) n
"""


class Tables:
    """A connection to the server's own PostgreSQL, for making rows and for looking at them."""

    def __init__(self, connection: asyncpg.Connection[asyncpg.Record]) -> None:
        self._connection = connection

    async def pending(self, agent_id: str, tasks: int, *, priority: int = 5, due_in: timedelta = NOW) -> None:
        """So many pending tasks of an agent, counted as always."""
        for first in range(1, tasks + 1, CHUNK):
            last = min(first + CHUNK - 1, tasks)
            await self._connection.execute(PENDING, int(agent_id), priority, due_in, first, last)

    async def finished(self, agent_id: str, tasks: int, *, ago: timedelta = NOW) -> None:
        """So many completed tasks of an agent; counted in one go."""
        await self._connection.execute("alter table agent_tasks disable trigger user")
        for first in range(1, tasks + 1, CHUNK):
            await self._connection.execute(FINISHED, int(agent_id), ago, first, min(first + CHUNK - 1, tasks))
        await self._connection.execute("alter table agent_tasks enable trigger user")
        await self._connection.execute(
            "insert into task_counts (agent_id, completed) values ($1, $2)", int(agent_id), tasks
        )

    async def settle_down(self) -> None:
        """What autovacuum would do in the next minute, now: so that it is not measured by chance."""
        await self._connection.execute("vacuum (analyze) agent_tasks")
        await self._connection.execute("checkpoint")

    async def backend(self, name: str) -> int | None:
        """The process of the kept connection with that name, if it is open."""
        pid = await self._connection.fetchval(
            "select pid from pg_stat_activity where application_name = 'workstation ' || $1::text", name
        )
        return None if pid is None else int(pid)

    async def count_old(self) -> int:
        """How many tasks of another time are there."""
        counted = "select count(*) from agent_tasks where created_at < now() - interval '60 days'"
        return int(await self._connection.fetchval(counted))

    async def size_mb(self) -> float:
        """The table of tasks with its indexes, in MB."""
        return float(await self._connection.fetchval("select pg_total_relation_size('agent_tasks') / 1e6"))


@asynccontextmanager
async def tables(server: Server) -> AsyncIterator[Tables]:
    """That connection, while the server runs."""
    socket = await asyncio.to_thread(_socket, server.folder)
    connection = await asyncpg.connect(
        host=str(socket.parent), port=int(socket.suffix[1:]), user="workstation", database="workstation", timeout=10
    )
    try:
        yield Tables(connection)
    finally:
        await connection.close()


def _socket(folder: Path) -> Path:
    for found in folder.rglob(".s.PGSQL.*"):
        if found.is_socket():
            return found
    raise RuntimeError(f"no socket of PostgreSQL under {folder}")
