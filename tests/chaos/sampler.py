"""The sampler: looks at the database and at processes every half second, past the doors."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import asyncpg
import psutil
from tests.chaos.recorder import Recorder
from tests.chaos.world import World

INTERVAL_SECONDS = 0.5
# A look that takes longer means that the machine has no time for us: half of what a statement of the server may take.
STARVED_SECONDS = 0.75

# The driver's own confusion too: a server that dies in the middle of its greeting leaves it in no state it knows.
LOST = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
TICK_SECONDS = 0.03
LATE_SECONDS = 0.1

UNLEASED = """
select t.id, t.attempt, t.deadline_at < now() as overdue,
       n.id is null or n.status not in ('live', 'draining') or n.lease_expires_at < now() as unleased
from agent_tasks t left join agent_instances n on n.id = t.instance_id
where t.status = 'running'
  and (t.deadline_at < now() or n.id is null or n.status not in ('live', 'draining') or n.lease_expires_at < now())
"""


async def sample(world: World, record: Recorder) -> None:
    """Look, for ever."""
    while True:
        began = time.monotonic()
        try:
            rows = await world.postgres.rows(UNLEASED)
        except LOST:
            record("database not seen")
        else:
            record(
                "stuck",
                unleased=[[row["id"], row["attempt"]] for row in rows if row["unleased"]],
                overdue=[[row["id"], row["attempt"]] for row in rows if row["overdue"]],
            )
        measure(world, record)
        await asyncio.sleep(INTERVAL_SECONDS)
        late = time.monotonic() - began - INTERVAL_SECONDS
        if late > STARVED_SECONDS:
            record("starved", seconds=late)


async def watch_lateness(world: World, record: Recorder) -> None:
    """Record when this process is late itself, or an orchestrator waits for a processor: times are not theirs then."""
    waited = {replica.number: _waited(replica.server.pid) for replica in world.replicas}
    while True:
        since, worst = time.monotonic(), 0.0
        for _ in range(10):
            began = time.monotonic()
            await asyncio.sleep(TICK_SECONDS)
            worst = max(worst, time.monotonic() - began - TICK_SECONDS)
        for replica in world.replicas:
            before, waited[replica.number] = waited[replica.number], _waited(replica.server.pid)
            worst = max(worst, waited[replica.number] - before)
        if worst > LATE_SECONDS:
            record("late", since=since, seconds=worst)


def _waited(pid: int) -> float:
    """For how many seconds a process was able to run and got no processor; 0 where the system does not tell."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0


def measure(world: World, record: Recorder, when: str = "") -> None:
    """How much the orchestrators hold: memory, files, connections to the database."""
    for replica in world.replicas:
        if not replica.server.running:
            continue
        try:
            process = psutil.Process(replica.server.pid)
            mib, files = process.memory_info().rss / 2**20, process.num_fds()
        except psutil.NoSuchProcess:
            continue
        about = {"replica": replica.number, "pid": replica.server.pid, "links": replica.door.links, "when": when}
        record("holds", mib=round(mib, 1), files=files, **about)
