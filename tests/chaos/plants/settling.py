"""Bugs planted where attempts end: the fence, the decisions, the slots."""

from __future__ import annotations

from tests.chaos.plants.plant import Edit, Options, Plant
from tests.chaos.plants.queue import HOSTILE, TASKS_SQL

DECIDE = "src/workstation/domain/settle.py"
FENCE = "and t.status = 'running' and t.attempt = i.attempt and t.instance_id = i.instance_id"


def _fence(new: str) -> tuple[Edit, ...]:
    return (Edit(TASKS_SQL, FENCE, new, within="-- name: complete\n"),)


RESULTS = (
    "a result is what the winning attempt reported",
    "what an agent was told of its report stands",
    "no task has two accepted outcomes",
)

PLANTS = (
    Plant(
        "no-fence",
        "a task is completed by its id alone",
        _fence("and t.status = 'running'"),
        RESULTS,
        HOSTILE,
    ),
    Plant(
        "fence-without-attempt",
        "whoever holds a task now may complete it by an attempt that it lost before",
        (
            *_fence("and t.status = 'running' and t.instance_id = i.instance_id"),
            Edit(
                TASKS_SQL,
                "select id, attempt, settled_by from done",
                "select id, attempt, settled_by from done union all select id, attempt - 1, settled_by from done",
                within="-- name: complete\n",
            ),
        ),
        RESULTS,
        HOSTILE,
    ),
    Plant(
        "fence-without-instance",
        "whoever knows task and attempt may complete it",
        _fence("and t.status = 'running' and t.attempt = i.attempt"),
        (*RESULTS, "agents are given only what they hold"),
        HOSTILE,
    ),
    Plant(
        "late-result-beats-cancel",
        "a result that comes late overwrites what was cancelled",
        _fence("and t.attempt = i.attempt and (t.instance_id = i.instance_id or t.status = 'cancelled')"),
        ("what was seen as final stays so", "only legal transitions happen", "no task has two accepted outcomes"),
        HOSTILE,
    ),
    Plant(
        "results-mixed-up",
        "results that are settled together go to each other's tasks",
        (
            Edit(
                "src/workstation/store/tasks.py",
                "        [report.result for report in ordered],\n",
                "        [report.result for report in reversed(ordered)],\n",
                within="async def complete(",
            ),
        ),
        RESULTS,
        Options(seed=8, seconds=20, load="steady"),
    ),
    Plant(
        "one-retry-too-many",
        "a task is tried once more than max_retries allows",
        (Edit(DECIDE, "held.retry_count < held.max_retries", "held.retry_count <= held.max_retries"),),
        ("tries are bounded and counted",),
        HOSTILE,
    ),
    Plant(
        "release-is-charged",
        "a task that was given back unharmed has one retry less",
        (
            Edit(
                DECIDE,
                "Settlement(TaskStatus.PENDING, delay, held.retry_count, held.lost_count, releases)",
                "Settlement(TaskStatus.PENDING, delay, held.retry_count + 1, held.lost_count, releases)",
            ),
        ),
        ("tries are bounded and counted",),
        HOSTILE,
    ),
    Plant(
        "losses-are-not-counted",
        "a task that kills every agent it meets is tried for ever",
        (Edit(DECIDE, "held.lost_count + (1 if report.charged else 0)", "held.lost_count"),),
        ("losses are bounded and counted", "every task reaches a final state"),
        HOSTILE,
    ),
    Plant(
        "redrive-keeps-retries",
        "a redriven task has the retries of its first life behind it",
        (Edit(TASKS_SQL, "retry_count = 0, lost_count = 0", "lost_count = 0", within="-- name: redrive\n"),),
        test="tests/integration/services/test_tasks.py tests/integration/services/test_settle.py",
    ),
    Plant(
        "slot-leaks",
        "the slot of an attempt that was taken back is never given again",
        (
            Edit(
                "src/workstation/dispatch/dispatcher.py",
                "        self.returned(session, task_id, attempt)\n",
                "",
                within="    def _stop_here(",
            ),
            Edit(
                "src/workstation/api/gateway/socket.py",
                "        for task_id, attempt in held_before - known:\n"
                "            self._dispatcher.returned(session, task_id, attempt)\n",
                "",
            ),
            Edit(
                "src/workstation/dispatch/dispatcher.py",
                "            if not session.pulls:\n",
                "            if False:\n",
                within="    def returned(",
            ),
        ),
        ("every task reaches a final state",),
        HOSTILE,
    ),
    Plant(
        "no-timeouts",
        "nobody takes back what runs past its deadline",
        (
            Edit(
                "src/workstation/engine/reaper.py",
                '        await self._settle([_timed_out(*held) for held in overdue], "timed_out")\n',
                "",
            ),
        ),
        ("nothing runs without a lease", "every task reaches a final state"),
        HOSTILE,
    ),
)
