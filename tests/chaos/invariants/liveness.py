"""What may happen happens soon, in times without a fault near."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable

from tests.chaos.evidence import Evidence
from tests.chaos.invariants.recovery import REAPER_PAUSE_SECONDS

# One poll of a replica that heard no notification, one of an agent that pulls, and what the round takes.
START_SECONDS = 4.0
IDLE = 3
"""An agent that works on fewer than this has room: each instance has more slots."""
AFTER_AGENTS_SECONDS = 15.0
"""An agent that was killed is started again, and the tasks it held go first."""


def a_task_that_is_due_starts_while_its_agent_is_idle(evidence: Evidence) -> list[str]:
    """It does not wait to be found: a notification may get lost, the poll behind it does not."""
    broken = []
    busy = _working(evidence)
    bound = START_SECONDS + evidence.slack
    for task in evidence.tasks.values():
        changes = evidence.changes_of.get(task.id, [])
        # A retry waits for a time that only the row knows, and what was lost waits for its turn.
        if len(changes) < 2 or changes[1].type != "task.started" or task.agent_id is None:
            continue
        if not task.lane.startswith("a") or task.retry_count or task.lost_count:
            continue
        due, started = max(changes[0].at, task.run_at), changes[1].at
        if started - due > bound and _quiet(evidence, due, started) and busy(task.agent_id, due, started) < IDLE:
            broken.append(f"task {task.id} waited {started - due:.1f} s for its agent, which was idle")
    return broken


def _working(evidence: Evidence) -> Callable[[int, float, float], int]:
    """How many attempts an agent began, or had under way, between two instants."""
    begun: dict[int, list[float]] = defaultdict(list)
    spans: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for attempt in sorted(evidence.attempts, key=lambda a: a.claimed_at):
        begun[attempt.agent_id].append(attempt.claimed_at)
        spans[attempt.agent_id].append((attempt.claimed_at, attempt.ended_at or attempt.claimed_at))

    def most(agent: int, since: float, until: float) -> int:
        last = bisect_left(begun[agent], until - 0.1)
        return sum(end > since for _, end in spans[agent][:last])

    return most


def _quiet(evidence: Evidence, begin: float, end: float) -> bool:
    """Whether nothing was broken near these instants, and no agent came or went."""
    for window in (*evidence.outages, *evidence.windows):
        after = AFTER_AGENTS_SECONDS if window.by_agents else REAPER_PAUSE_SECONDS + evidence.slack
        if window.begin_wall < end and begin < window.end_wall + after:
            return False
    changes = evidence.of("agent ended", "agent started")
    return not any(begin - AFTER_AGENTS_SECONDS < line.wall < end for line in changes)
