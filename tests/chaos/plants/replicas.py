"""Bugs planted where replicas share one queue."""

from __future__ import annotations

from tests.chaos.plants.plant import Edit, Options, Plant
from tests.chaos.plants.queue import SCHEMA, TASKS_SQL

PLANTS = (
    Plant(
        "double-claim",
        "two replicas may claim the same task: heads are not locked, and their state is not asked again",
        (
            Edit(TASKS_SQL, "        for update skip locked\n", "", within="-- name: lock_heads\n"),
            Edit(SCHEMA, "        when status <> 'pending' then 'not_pending'\n", "        when false then ''\n"),
        ),
        ("only legal transitions happen", "attempts never overlap", "an attempt is given once"),
        Options(seed=16, seconds=25, replicas=2, load="backlog"),
    ),
    Plant(
        "woken-by-notify-alone",
        "nobody looks for work by himself: a hint that is lost is lost",
        (
            Edit(
                "src/workstation/dispatch/dispatcher.py",
                "            for lane in lanes:\n                self.floor.mark(lane)\n            if lanes:\n"
                "                self.claimer.nudge()\n",
                "            del lanes\n",
                within="    async def _look_for_work(",
            ),
        ),
        test="tests/integration/dispatch/test_dispatcher.py tests/integration/dispatch/test_wakeups.py",
    ),
)
