"""The verbs of the queue's hot path: submit, claim, complete, settle, record progress. They take many at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import msgspec

from workstation.domain import settle as decide
from workstation.domain.assign import Assignment, Head, Taker, assign
from workstation.domain.errors import Conflict, LeaseLost, NotFound, Refusal
from workstation.domain.tasks import Claim, NewTask, OutcomeKind, Progress, Report, TaskError
from workstation.store import tasks as store
from workstation.store.database import Connection

KEY_CONFLICT = "This idempotency key was used for another request in the last 24 hours; use a new key."


@dataclass(frozen=True, slots=True)
class Unit:
    """The tasks of one request: all are created or none. takers has a session for each that is handed over at once."""

    tasks: tuple[NewTask, ...]
    takers: tuple[store.Taker | None, ...]


class Created(msgspec.Struct, frozen=True, gc=False):
    """One created task. handed holds the claim when it went to an agent at once; replayed when it was there already.

    wait_seconds is how long until it is due.
    """

    task_id: int
    replayed: bool = False
    handed: Claim | None = None
    wait_seconds: float = 0.0


async def submit(connection: Connection, units: Sequence[Unit], ids: Sequence[int]) -> list[list[Created] | Refusal]:
    """Create the tasks of many requests in one statement; a refusal concerns its request alone.

    ids has one unused id for each task. Raises DataRefused when the database will not take one of the tasks: ask
    again, one by one.
    """
    tasks = [task for unit in units for task in unit.tasks]
    takers = [taker for unit in units for taker in unit.takers]
    inserted = await store.submit(connection, ids, tasks, takers)
    replays = await _find_replays(connection, tasks, ids, inserted) if len(inserted) < len(tasks) else {}
    answers: list[list[Created] | Refusal] = []
    start = 0
    for unit in units:
        end = start + len(unit.tasks)
        answers.append(_answer(unit, ids[start:end], inserted, replays))
        start = end
    return answers


async def submit_alone(
    connection: Connection, units: Sequence[Unit], ids: Sequence[int]
) -> list[list[Created] | Refusal]:
    """Create the tasks of one request in a transaction of its own, which a refusal rolls back."""
    try:
        async with connection.transaction():
            (answer,) = await submit(connection, units, ids)
            if isinstance(answer, Refusal):
                raise answer
    except Refusal as refusal:
        return [refusal]
    return [answer]


async def _find_replays(
    connection: Connection, tasks: Sequence[NewTask], ids: Sequence[int], inserted: dict[int, store.Inserted]
) -> dict[tuple[str, str], tuple[int, bytes]]:
    keys = [
        (task.created_by, task.idempotency_key)
        for task, task_id in zip(tasks, ids, strict=True)
        if task.idempotency_key is not None and task_id not in inserted
    ]
    if not keys:
        return {}
    found = await store.find_by_idempotency_key(connection, keys)
    return {key: hit for key, hit in zip(keys, found, strict=True) if hit is not None}


def _answer(
    unit: Unit,
    ids: Sequence[int],
    inserted: dict[int, store.Inserted],
    replays: dict[tuple[str, str], tuple[int, bytes]],
) -> list[Created] | Refusal:
    created = []
    for task_id, task, taker in zip(ids, unit.tasks, unit.takers, strict=True):
        row = inserted.get(task_id)
        if row is not None:
            handed = _handed(task_id, task, taker, row)
            created.append(Created(task_id, handed=handed, wait_seconds=row.wait_seconds))
            continue
        kept = replays.get((task.created_by, task.idempotency_key or ""))
        if kept is None:
            return NotFound("There is no such agent any more; list them with GET /api/agents.")
        if kept[1] != task.request_hash:
            return Conflict(KEY_CONFLICT)
        created.append(Created(kept[0], replayed=True))
    return created


def _handed(task_id: int, task: NewTask, taker: store.Taker | None, row: store.Inserted) -> Claim | None:
    if taker is None or row.instance_id is None or row.deadline_at is None:
        return None
    return Claim(
        task_id,
        1,
        row.instance_id,
        taker.agent_id,
        task.type,
        task.payload,
        task.priority,
        task.timeout_ms,
        row.deadline_at,
    )


@dataclass(frozen=True, slots=True)
class Round:
    """What one claim round brought: the claims, and the lanes in which there is nothing more to be had now."""

    claims: list[Claim]
    exhausted: set[str]


async def claim(
    connection: Connection, looks: Sequence[store.Look], takers: Sequence[Taker], *, alone: bool = False
) -> Round:
    """Claim for all sessions at once: look at the heads of each lane, assign them, write the claims.

    alone: no other replica claims, so that heads need no lock between the look and the claim.
    """
    if alone:
        return await _claim_heads(connection, await store.look_at_heads(connection, looks), looks, takers)
    async with connection.transaction():
        return await _claim_heads(connection, await store.lock_heads(connection, looks), looks, takers)


async def _claim_heads(
    connection: Connection, heads: Sequence[Head], looks: Sequence[store.Look], takers: Sequence[Taker]
) -> Round:
    given = assign(heads, takers)
    pairs = [(head.task_id, taker.instance_id, taker.agent_id) for head, taker in given.given]
    claims = await store.claim(connection, pairs) if pairs else []
    return Round(claims, _exhausted(looks, [head.lane for head in heads], given))


def _exhausted(looks: Sequence[store.Look], seen: Sequence[str], given: Assignment) -> set[str]:
    """A lane showed fewer heads than wanted and all were taken, or none that it showed may be taken now."""
    count = Counter(seen)
    taken = {head.lane for head, _ in given.given}
    return {
        look.lane
        for look in looks
        if (count[look.lane] < look.wanted and look.lane not in given.starved | given.blocked)
        or (look.lane in given.blocked and look.lane not in taken)
    }


class Accepted(msgspec.Struct, frozen=True, gc=False):
    """An accepted report: the status of its task now; where and when it may be claimed again if it is pending."""

    status: str
    run_at: datetime | None = None
    lane: str | None = None
    wait_seconds: float = 0.0


async def complete(connection: Connection, reports: Sequence[Report]) -> list[Accepted | Refusal]:
    """Complete attempts under the fence; a repeated report of a completed attempt is answered alike."""
    first = _first_of_each(reports)
    done = await store.complete(connection, first.values())
    late = [report for key, report in first.items() if key not in done]
    answers = await _judge_late(connection, late) if late else {}
    return [Accepted("completed") if _key(report) in done else answers[_key(report), report.kind] for report in reports]


async def settle(
    connection: Connection, reports: Sequence[Report], jitter: Callable[[], float]
) -> list[Accepted | Refusal]:
    """End attempts that failed, ran out of time, were released or lost: decide under lock, write, commit.

    An attempt reported twice in one call is settled by the first report.
    """
    first = _first_of_each(reports)
    async with connection.transaction():
        held = await store.lock_held(connection, list(first.values()))
        decided = [
            (report, decide.settle(held[key], report, jitter()), held[key].agent_id)
            for key, report in first.items()
            if key in held
        ]
        written = await store.settle(connection, decided) if decided else {}
    answers: dict[tuple[store.HeldAttempt, OutcomeKind], Accepted | Refusal] = {}
    for report, _, _ in decided:
        row = written[report.task_id, report.attempt]
        answers[_key(report), report.kind] = Accepted(row.status, row.run_at, row.lane, row.wait_seconds)
    late = [report for report in reports if (_key(report), report.kind) not in answers]
    if late:
        answers.update(await _judge_late(connection, late))
    return [answers[_key(report), report.kind] for report in reports]


def _key(report: Report) -> store.HeldAttempt:
    return report.task_id, report.attempt, report.instance_id


def _first_of_each(reports: Sequence[Report]) -> dict[store.HeldAttempt, Report]:
    first: dict[store.HeldAttempt, Report] = {}
    for report in reports:
        first.setdefault(_key(report), report)
    return first


async def _judge_late(
    connection: Connection, reports: Sequence[Report]
) -> dict[tuple[store.HeldAttempt, OutcomeKind], Accepted | Refusal]:
    """A report that settled nothing is either one heard before, which is answered alike, or comes too late."""
    found = await store.find_attempts(connection, [(report.task_id, report.attempt) for report in reports])
    answers: dict[tuple[store.HeldAttempt, OutcomeKind], Accepted | Refusal] = {}
    for report, attempt in zip(reports, found, strict=True):
        if attempt is not None and attempt[0] == report.kind.value and attempt[1] == report.instance_id:
            answers[_key(report), report.kind] = Accepted(attempt[2], attempt[3])
        else:
            answers[_key(report), report.kind] = LeaseLost(
                f"Attempt {report.attempt} of task {report.task_id} is not held by this instance any more: drop it."
            )
    return answers


async def record_progress(connection: Connection, items: Sequence[Progress]) -> list[Refusal | None]:
    """Write progress under the fence."""
    written = await store.record_progress(connection, items)
    return [
        None
        if (item.task_id, item.attempt) in written
        else LeaseLost(f"Attempt {item.attempt} of task {item.task_id} is not held by this instance any more.")
        for item in items
    ]


def refused_result(report: Report, reason: str) -> Report:
    """The failure that stands in for a result the database will not take: that attempt alone fails, for good."""
    return msgspec.structs.replace(
        report, kind=OutcomeKind.FAILED, result=None, usage=None, error=TaskError(reason, "bad_result", False)
    )


async def held_by(connection: Connection, instances: Sequence[UUID]) -> dict[UUID, list[Claim]]:
    """What the database holds for each instance."""
    held: dict[UUID, list[Claim]] = {instance: [] for instance in instances}
    for claim_ in await store.held_by(connection, instances):
        held[claim_.instance_id].append(claim_)
    return held


async def attempts_of(connection: Connection, instances: Sequence[UUID]) -> dict[UUID, set[tuple[int, int]]]:
    """The (task, attempt) pairs the database holds for each instance."""
    held: dict[UUID, set[tuple[int, int]]] = {instance: set() for instance in instances}
    for instance_id, task_id, attempt in await store.list_running(connection, instances):
        held[instance_id].add((task_id, attempt))
    return held
