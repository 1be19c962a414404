"""The checker: reads what the database kept of acknowledged tasks, and says what must hold of it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import pairwise

import asyncpg
from tests.support.agent_process import Journal
from tests.support.live_server import LiveServer
from tests.support.load import ENDS_AS

MAX_LOSSES = 3


@dataclass(frozen=True)
class History:
    """Tasks and their attempts, in order, as they are in the database."""

    tasks: Mapping[int, asyncpg.Record]
    attempts: Mapping[int, list[asyncpg.Record]]

    def outcomes(self, task: int) -> list[str | None]:
        """How the attempts at a task ended."""
        return [attempt["outcome"] for attempt in self.attempts.get(task, [])]

    def count(self, outcome: str) -> int:
        """How many attempts ended like this."""
        return sum(self.outcomes(task).count(outcome) for task in self.tasks)


async def until_final(server: LiveServer, tasks: Collection[int], within: float) -> float:
    """Wait until all these tasks are final; how many seconds that took. Fails with what is left."""
    began = time.monotonic()
    open_tasks: list[asyncpg.Record] = []
    while time.monotonic() - began < within:
        try:
            open_tasks = await server.rows(
                "select id, type, status, attempt, run_at - now() as due_in, instance_id, lane from agent_tasks "
                "where id = any ($1::bigint[]) and completed_at is null order by id",
                list(tasks),
            )
        except (OSError, asyncpg.PostgresError):
            await asyncio.sleep(0.2)
            continue
        if not open_tasks:
            return time.monotonic() - began
        await asyncio.sleep(0.1)
    listed = "\n".join(str(dict(task)) for task in open_tasks[:10])
    raise AssertionError(f"{len(open_tasks)} of {len(tasks)} tasks are not final after {within:.0f} s:\n{listed}")


async def read_history(server: LiveServer, tasks: Collection[int]) -> History:
    """Read tasks with their attempts."""
    found = await server.rows("select * from agent_tasks where id = any ($1::bigint[])", list(tasks))
    attempts: dict[int, list[asyncpg.Record]] = {}
    for row in await server.rows(
        "select * from attempts where task_id = any ($1::bigint[]) order by task_id, attempt", list(tasks)
    ):
        attempts.setdefault(row["task_id"], []).append(row)
    return History({row["id"]: row for row in found}, attempts)


async def check(server: LiveServer, acknowledged: Mapping[int, str], journal: Journal) -> History:
    """Everything acknowledged is there and final, was accepted once, and says what its agent said."""
    history = await read_history(server, acknowledged)
    lost = acknowledged.keys() - history.tasks.keys()
    assert not lost, f"acknowledged and not in the database: {sorted(lost)[:10]}"
    reports = journal.reports()
    for task, type in acknowledged.items():
        _check_task(history.tasks[task], history.attempts.get(task, []), ENDS_AS.get(type, "completed"))
        _check_result(history.tasks[task], reports)
    await _check_events(server, history)
    return history


def _check_task(task: asyncpg.Record, attempts: list[asyncpg.Record], ends_as: str) -> None:
    told = f"task {task['id']} ({task['type']}): {[dict(attempt) for attempt in attempts]}"
    outcomes = [attempt["outcome"] for attempt in attempts]
    assert task["status"] == ends_as, f"{task['status']}: {task['error']}: {told}"
    assert None not in outcomes, f"an attempt is still open: {told}"
    assert outcomes.count("completed") == (1 if ends_as == "completed" else 0), told
    assert [attempt["attempt"] for attempt in attempts] == list(range(1, task["attempt"] + 1)), told
    charged = sum(outcome in ("failed", "timed_out") for outcome in outcomes)
    assert task["retry_count"] == charged - (ends_as == "failed") <= task["max_retries"], told
    assert task["lost_count"] <= min(outcomes.count("lost"), MAX_LOSSES), told
    for earlier, later in pairwise(attempts):
        assert earlier["ended_at"] <= later["claimed_at"], f"two leases at once: {told}"


def _check_result(task: asyncpg.Record, reports: Mapping[tuple[int, int], set[str]]) -> None:
    if task["status"] == "completed":
        said = json.loads(task["result"])["said"]
        assert said in reports[task["id"], task["attempt"]], f"task {task['id']} has a result nobody reported"


async def _check_events(server: LiveServer, history: History) -> None:
    """Every change of every task has its event: versions 1 to the last, each once."""
    rows = await server.rows(
        "select i.task, array_agg(i.version order by i.version) as versions "
        "from events, unnest(tasks, versions) as i (task, version) where i.task = any ($1::bigint[]) group by 1",
        list(history.tasks),
    )
    told = {row["task"]: row["versions"] for row in rows}
    for number, task in history.tasks.items():
        assert told[number] == list(range(1, task["version"] + 1)), f"task {number} has a gap in its events"
