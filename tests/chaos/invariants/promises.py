"""What clients and agents were told stands."""

from __future__ import annotations

from collections import defaultdict

from tests.chaos.evidence import FINAL, Evidence

# What a report is called by the agent, and by the attempt that it ends.
OUTCOMES = {"done": ("completed",), "fail": ("failed", "timed_out"), "release": ("released",)}
# Answers that a client may get: nothing it sends is wrong, so that any other is a fault of ours.
EXPECTED = {200, 201, 202, 409, 503}


def nothing_acknowledged_is_lost(evidence: Evidence) -> list[str]:
    """A task whose number a client was told is in the database."""
    broken = [
        f"task {task} was acknowledged under {line['key']} and is not there"
        for line in evidence.of("accepted")
        for task in line["tasks"]
        if task not in evidence.tasks
    ]
    return broken + [f"task {line['task']} was acknowledged and then not found" for line in evidence.of("not found")]


def every_task_reaches_a_final_state(evidence: Evidence) -> list[str]:
    """After healing and draining no task is open, acknowledged or not, and no attempt."""
    broken = [
        f"task {task.id} is still {task.status} (attempt {task.attempt}, lost {task.lost_count})"
        for task in evidence.tasks.values()
        if task.status not in FINAL
    ]
    gave_up = [f"{line['key']} was never acknowledged" for line in evidence.of("gave up")]
    return (
        broken
        + gave_up
        + [
            f"attempt {attempt.attempt} of task {attempt.task} has no outcome"
            for attempt in evidence.attempts
            if attempt.outcome is None
            and attempt.task in evidence.tasks
            and evidence.tasks[attempt.task].status in FINAL
        ]
    )


def what_was_seen_as_final_stays_so(evidence: Evidence) -> list[str]:
    """A client that saw a task completed or cancelled, cancelled or redrove it, was told the truth."""
    broken = []
    for line in evidence.of("seen"):
        task = evidence.tasks.get(line["task"])
        if task is None or line["status"] not in ("completed", "cancelled"):
            continue
        if task.status != line["status"]:
            broken.append(f"task {task.id} was seen {line['status']} and is {task.status}")
    for line in evidence.of("changed"):
        task = evidence.tasks.get(line["task"])
        if line["verb"] == "cancel" and task is not None and task.status != "cancelled":
            broken.append(f"task {task.id} was said to be cancelled and is {task.status}")
        types = {change.type for change in evidence.changes_of.get(line["task"], ())}
        if line["verb"] == "redrive" and "task.redriven" not in types:
            broken.append(f"task {line['task']} was said to be redriven and no event tells of it")
    return broken


def one_key_is_one_task(evidence: Evidence) -> list[str]:
    """However often a request was sent under a key, its answers name the same tasks, and there are no others."""
    told: dict[str, set[tuple[int, ...]]] = defaultdict(set)
    for line in evidence.of("accepted"):
        told[line["key"]].add(tuple(line["tasks"]))
    broken = [f"{key} was acknowledged as {sorted(sets)}" for key, sets in told.items() if len(sets) > 1]
    rows: dict[tuple[str, str], list[int]] = defaultdict(list)
    for task in evidence.tasks.values():
        if task.idempotency_key is not None:
            rows[task.created_by, task.idempotency_key].append(task.id)
    broken += [f"{key} stands for the tasks {ids}" for (_, key), ids in rows.items() if len(ids) > 1]
    broken += [f"{line['key']} was accepted for another request" for line in evidence.of("accepted under a taken key")]
    for key, sets in told.items():
        tasks = next(iter(sets))
        wanted = [key] if len(tasks) == 1 else [f"{key}#{index}" for index in range(len(tasks))]
        held = [evidence.tasks[task].idempotency_key for task in tasks if task in evidence.tasks]
        if len(held) == len(tasks) and held != wanted:
            broken.append(f"{key} was acknowledged as {tasks}, whose keys are {held}")
    return broken


def what_an_agent_was_told_of_its_report_stands(evidence: Evidence) -> list[str]:
    """A report that was accepted ended its attempt that way; a refused one did not."""
    ended = {(a.task, a.attempt, a.instance): a.outcome for a in evidence.attempts}
    accepted: set[tuple[int, int, str]] = set()
    broken = []
    for line in evidence.of("told"):
        if line["kind"] not in OUTCOMES:
            continue
        key = (line["task"], line["attempt"], line["instance"])
        outcome = ended.get(key)
        if line["code"] is None:
            accepted.add(key)
            if outcome not in OUTCOMES[line["kind"]]:
                broken.append(
                    f"attempt {key[1]} of task {key[0]}: {line['kind']} of instance {key[2]} was accepted, "
                    f"and the database has {outcome}"
                )
    broken += [
        f"attempt {line['attempt']} of task {line['task']}: {line['kind']} was refused ({line['code']}), "
        "and the database has it"
        for line in evidence.of("told")
        if line["code"] == "lease_lost"
        and line["kind"] in OUTCOMES
        and (key := (line["task"], line["attempt"], line["instance"])) in ended
        and line["kind"] == "done"
        and ended[key] == "completed"
        and key not in accepted
    ]
    return broken


def no_task_has_two_accepted_outcomes(evidence: Evidence) -> list[str]:
    """One attempt at most of a task was completed, for its agent and in the database alike."""
    told: dict[int, set[tuple[int, str]]] = defaultdict(set)
    for line in evidence.of("told"):
        if line["kind"] == "done" and line["status"] == "completed":
            told[line["task"]].add((line["attempt"], line["instance"]))
    broken = [f"task {task} was completed by {sorted(by)}" for task, by in told.items() if len(by) > 1]
    for task, attempts in evidence.attempts_of.items():
        completed = [attempt.attempt for attempt in attempts if attempt.outcome == "completed"]
        row = evidence.tasks.get(task)
        if len(completed) > 1:
            broken.append(f"task {task} has the completed attempts {completed}")
        if row is not None and (row.status == "completed") != bool(completed):
            broken.append(f"task {task} is {row.status} and its completed attempts are {completed}")
        if row is not None and completed and completed[-1] != row.attempt:
            broken.append(f"task {task} was completed by attempt {completed[-1]} and stands at {row.attempt}")
    return broken


def a_result_is_what_the_winning_attempt_reported(evidence: Evidence) -> list[str]:
    """The result of a completed task was reported by the instance that held the attempt that won, and first."""
    said: dict[tuple[int, int, str], list[str]] = defaultdict(list)
    for line in evidence.of("reports"):
        said[line["task"], line["attempt"], line["instance"]].append(line["said"])
    holders = {(a.task, a.attempt): a.instance for a in evidence.attempts if a.outcome == "completed"}
    broken = []
    for task in evidence.tasks.values():
        if task.status != "completed":
            continue
        reported = said.get((task.id, task.attempt, holders.get((task.id, task.attempt), "")), [])
        result = task.result.get("said") if isinstance(task.result, dict) else task.result
        if result not in reported[:1]:
            broken.append(f"task {task.id} has the result {result}, and its winner reported {reported}")
    return broken


def agents_are_given_only_what_they_hold(evidence: Evidence) -> list[str]:
    """Whatever an agent was given, the database says that this instance held that attempt."""
    held = {(a.task, a.attempt, a.instance) for a in evidence.attempts}
    return [
        f"attempt {line['attempt']} of task {line['task']} was given to {line['instance']}, who never held it"
        for line in evidence.of("given")
        if (line["task"], line["attempt"], line["instance"]) not in held
    ]


def a_cancelled_pending_task_never_starts(evidence: Evidence) -> list[str]:
    """After a cancel no attempt begins, in the database or at an agent. One that had begun may still arrive there."""
    broken = []
    last_attempt: dict[int, int] = {}
    for task, changes in evidence.changes_of.items():
        cancelled = next((change for change in changes if change.type == "task.cancelled"), None)
        if cancelled is None:
            continue
        last_attempt[task] = cancelled.attempt
        broken += [
            f"task {task} was cancelled, and its attempt {change.attempt} began later"
            for change in changes
            if change.type == "task.started" and change.version > cancelled.version
        ]
    return broken + [
        f"task {line['task']} was cancelled before its attempt {line['attempt']}, which was given to an agent"
        for line in evidence.of("given")
        if line["attempt"] > last_attempt.get(line["task"], line["attempt"])
    ]


def a_client_is_never_told_of_a_fault_of_ours(evidence: Evidence) -> list[str]:
    """Every answer is a success, a conflict that is one, or 503."""
    broken = [
        f"{line['method']} {line['path']} was answered {line['status']}: {line['text']}"
        for line in evidence.of("answered")
        if line["status"] not in EXPECTED
        and not (line["status"] == 404 and line["path"].startswith("/api/agents/tasks/"))
    ]
    return broken + [
        f"an agent's call of {line['path']} was answered {line['status']}: {line['text']}"
        for line in evidence.of("refused")
        if line["status"] not in EXPECTED
    ]
