"""States, their events and their counts."""

from __future__ import annotations

from collections import Counter, defaultdict

from tests.chaos.evidence import Evidence

# What each event does to a task: from which states, into which.
MOVES: dict[str, tuple[frozenset[str], str]] = {
    "task.created": (frozenset({"nothing"}), "pending"),
    "task.started": (frozenset({"pending"}), "running"),
    "task.completed": (frozenset({"running"}), "completed"),
    "task.retried": (frozenset({"running"}), "pending"),
    "task.released": (frozenset({"running"}), "pending"),
    "task.lost": (frozenset({"running"}), "pending"),
    "task.failed": (frozenset({"running"}), "failed"),
    "task.cancelled": (frozenset({"pending", "running"}), "cancelled"),
    "task.redriven": (frozenset({"failed"}), "pending"),
}
STATES = ("waiting", "pending", "running", "completed", "failed", "cancelled")


def only_legal_transitions_happen(evidence: Evidence) -> list[str]:
    """The events of a task, in the order of its versions, are moves that the state machine has."""
    broken = []
    for task, changes in evidence.changes_of.items():
        state, attempt = "nothing", 0
        for change in changes:
            if change.type not in MOVES:
                broken.append(f"task {task}: {change.type} is not known")
                break
            allowed, after = MOVES[change.type]
            starts = change.type == "task.started"
            if state not in allowed:
                broken.append(f"task {task}: {change.type} at version {change.version} while {state}")
            if change.attempt != attempt + starts:
                broken.append(f"task {task}: {change.type} tells of attempt {change.attempt} after {attempt}")
            state, attempt = after, change.attempt
    return broken


def every_change_has_its_event(evidence: Evidence) -> list[str]:
    """The versions of a task are told without a gap, each once, and the last event is the state of the row."""
    broken = []
    for task in evidence.tasks.values():
        changes = evidence.changes_of.get(task.id, [])
        versions = [change.version for change in changes]
        if versions != list(range(1, task.version + 1)):
            broken.append(f"task {task.id} is at version {task.version}, and its events tell of {versions}")
            continue
        after = MOVES.get(changes[-1].type, (frozenset(), ""))[1]
        if after != task.status or changes[-1].attempt != task.attempt:
            broken.append(
                f"task {task.id} is {task.status} at attempt {task.attempt}, "
                f"and its last event is {changes[-1].type} at {changes[-1].attempt}"
            )
        started = sorted(change.attempt for change in changes if change.type == "task.started")
        tried = [attempt.attempt for attempt in evidence.attempts_of.get(task.id, [])]
        if started != tried:
            broken.append(f"task {task.id} was started as {started}, and its attempts are {tried}")
    return broken + [
        f"events tell of task {task}, which is not there" for task in evidence.changes_of if task not in evidence.tasks
    ]


def who_follows_events_misses_none(evidence: Evidence) -> list[str]:
    """A client that reads on from its cursor has read every event once."""
    heard = Counter(cursor for line in evidence.of("heard") for cursor in line["events"])
    if not heard:
        return []
    missed = {cursor for line in evidence.of("written") for cursor in line["events"]} - heard.keys()
    twice = [cursor for cursor, times in heard.items() if times > 1]
    broken = [f"the event {cursor} was not heard" for cursor in sorted(missed)[:20]]
    return broken + [f"the event {cursor} was heard twice" for cursor in sorted(twice)[:20]]


def counts_equal_rows(evidence: Evidence) -> list[str]:
    """The sums of task_counts, and what the API says, are what counting the rows gives."""
    rows: dict[int | None, Counter[str]] = defaultdict(Counter)
    for task in evidence.tasks.values():
        rows[task.agent_id][task.status] += 1
    broken = []
    for agent in rows.keys() | evidence.counts.keys():
        counted = {state: int(evidence.counts.get(agent, {}).get(state, 0)) for state in STATES}
        if counted != {state: rows[agent][state] for state in STATES}:
            broken.append(f"agent {agent} is counted as {counted}, and has {dict(rows[agent])}")
    for line in evidence.of("counted"):
        shown, real = line["statistics"], rows[line["agent"]]
        told = tuple(int(shown[f"{state}_tasks"]) for state in ("total", "completed", "failed", "cancelled"))
        have = (sum(real.values()), real["completed"], real["failed"], real["cancelled"])
        if told != have:
            broken.append(f"the statistics of agent {line['agent']} say {told}, and its rows {have}")
    return broken
