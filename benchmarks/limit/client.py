"""The client of the raw limit, a process of its own: `client.py DSN CONNECTIONS BATCH TASKS`."""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from collections.abc import Awaitable, Callable

import asyncpg
import uvloop

from benchmarks.payload import payload

SCHEMA = """
create table lives (
    id bigint generated always as identity primary key,
    lane text not null,
    status text not null default 'pending',
    ready boolean not null generated always as (status = 'pending') stored,
    rank integer not null default 5,
    run_at timestamptz not null default now(),
    attempt integer not null default 0,
    instance_id uuid,
    payload jsonb not null,
    result jsonb,
    completed_at timestamptz
) with (fillfactor = 70);
create index lives_queue on lives (lane, rank desc, run_at, id) where ready;
"""
INSERT = "insert into lives (lane, payload) select 'a1', p::jsonb from unnest($1::text[]) p"
CLAIM = """
with due as materialized (
    select id from lives where lane = 'a1' and ready and run_at <= now()
    order by rank desc, run_at, id limit $1 for update skip locked
)
update lives
set status = 'running', attempt = attempt + 1, instance_id = '00000000-0000-0000-0000-000000000001'
from due where lives.id = due.id returning lives.id, lives.payload::text
"""
COMPLETE = """
update lives set status = 'completed', result = 'null', instance_id = null, completed_at = now()
where id = any($1::bigint[]) and status = 'running'
"""
PLANNER = {
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "plan_cache_mode": "force_generic_plan",
}


async def main(dsn: str, connections: int, batch: int, tasks: int) -> None:
    """Sends all tasks through each of the three steps and reports the seconds of each."""
    pool = [await asyncpg.connect(dsn, server_settings=PLANNER) for _ in range(connections)]
    await pool[0].execute(SCHEMA)
    share = tasks // (connections * batch)
    texts = [json.dumps(payload(n)) for n in range(batch)]
    claimed: list[int] = []
    settling: list[list[int]] = []

    async def insert(connection: asyncpg.Connection) -> None:
        for _ in range(share):
            await connection.fetch(INSERT, texts)

    async def claim(connection: asyncpg.Connection) -> None:
        while rows := await connection.fetch(CLAIM, batch):
            claimed.extend(row["id"] for row in rows)

    async def complete(connection: asyncpg.Connection) -> None:
        while settling:
            await connection.fetch(COMPLETE, settling.pop())

    async def timed(step: Callable[[asyncpg.Connection], Awaitable[None]]) -> float:
        started = time.perf_counter()
        await asyncio.gather(*(step(connection) for connection in pool))
        return time.perf_counter() - started

    own = _own_cpu()
    print(json.dumps({"event": "start"}), flush=True)
    seconds = {"insert": await timed(insert), "claim": await timed(claim)}
    settling.extend(claimed[at : at + batch] for at in range(0, len(claimed), batch))
    seconds["complete"] = await timed(complete)
    report = {"event": "done", "tasks": len(claimed), "seconds": seconds, "cpu": _own_cpu() - own}
    print(json.dumps(report), flush=True)


def _own_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], *map(int, sys.argv[2:5])))
