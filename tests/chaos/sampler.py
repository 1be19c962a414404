"""The sampler: looks at the database and at processes every half second, past the doors."""

from __future__ import annotations

import asyncio
import time

import asyncpg
import psutil
from tests.chaos.recorder import Recorder
from tests.chaos.world import World

INTERVAL_SECONDS = 0.5
# A look that takes longer means that the machine has no time for us: half of what a statement of the server may take.
STARVED_SECONDS = 0.75

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
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
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
