"""Tasks and their attempts in the database. Every function is one named statement of sql/tasks.sql."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypeAlias, TypeVar
from uuid import UUID

import msgspec

from workstation.domain.assign import Head
from workstation.domain.settle import Held, Settlement
from workstation.domain.tasks import Claim, NewTask, Progress, Report, TaskError
from workstation.store.database import Connection, Row
from workstation.store.statements import load

_SQL = load("tasks")
T = TypeVar("T")

_UNSTORABLE: Final = re.compile("[\0\ud800-\udfff]")
HeldAttempt: TypeAlias = tuple[int, int, UUID]
"""An attempt as its holder names it: task, attempt, instance."""


class Inserted(msgspec.Struct, frozen=True, gc=False):
    """A task that was created: instance and deadline where it was handed over, wait_seconds until it is due."""

    instance_id: UUID | None
    deadline_at: datetime | None
    wait_seconds: float


class Taker(msgspec.Struct, frozen=True, gc=False):
    """The session a task is handed to as it is created."""

    instance_id: UUID
    agent_id: int


async def take_ids(connection: Connection, n: int) -> list[int]:
    """So many unused task ids, ascending."""
    return [row[0] for row in await connection.fetch(_SQL["take_ids"], n)]


async def submit(
    connection: Connection, ids: Sequence[int], tasks: Sequence[NewTask], takers: Sequence[Taker | None]
) -> dict[int, Inserted]:
    """Insert tasks under these ids, each with the session that takes it at once or None.

    Left out of the answer: tasks of unknown agents, and those whose idempotency key is there already.
    """
    rows = await connection.fetch(
        _SQL["submit"],
        ids,
        _alike([task.agent_id for task in tasks]),
        _sparse([task.capability for task in tasks]),
        _alike([task.type for task in tasks]),
        [task.payload for task in tasks],
        _alike([task.priority for task in tasks]),
        _alike([task.created_by for task in tasks]),
        _alike([task.max_retries for task in tasks]),
        _sparse([task.run_at for task in tasks]),
        _alike([task.timeout_ms for task in tasks]),
        _sparse([task.region for task in tasks]),
        _sparse([task.idempotency_key for task in tasks]),
        _sparse([task.request_hash for task in tasks]),
        _sparse([taker.instance_id if taker else None for taker in takers]),
        _sparse([taker.agent_id if taker else None for taker in takers]),
    )
    return {row[0]: Inserted(row[1], row[2], row[3]) for row in rows}


def _alike(column: list[T]) -> list[T]:
    """A column for unnest of which one value is enough where all are the same: the statement fills up the others."""
    return column[:1] if all(value == column[0] for value in column) else column


def _sparse(column: list[T | None]) -> list[T | None]:
    """A column for unnest, which fills up short ones with nulls: one of nulls alone need not be sent at all."""
    return column if any(value is not None for value in column) else []


async def find_by_idempotency_key(
    connection: Connection, keys: Sequence[tuple[str, str]]
) -> list[tuple[int, bytes] | None]:
    """The task and request hash kept under each (creator, key), or None."""
    rows = await connection.fetch(_SQL["find_by_idempotency_key"], [key[0] for key in keys], [key[1] for key in keys])
    found: list[tuple[int, bytes] | None] = [None] * len(keys)
    for row in rows:
        found[row["ord"] - 1] = (row["id"], row["request_hash"])
    return found


@dataclass(frozen=True, slots=True)
class Look:
    """A look at the head of one lane: how many are wanted, whether once lost tasks may come, which types only."""

    lane: str
    wanted: int
    suspects: bool = True
    types: frozenset[str] | None = None


async def lock_heads(connection: Connection, looks: Sequence[Look]) -> list[Head]:
    """The next claimable tasks of each lane, locked until the end of the transaction."""
    return await _heads(connection, "lock_heads", looks)


async def look_at_heads(connection: Connection, looks: Sequence[Look]) -> list[Head]:
    """The next claimable tasks of each lane, as they are just now."""
    return await _heads(connection, "look_at_heads", looks)


async def _heads(connection: Connection, statement: str, looks: Sequence[Look]) -> list[Head]:
    rows = await connection.fetch(
        _SQL[statement],
        [look.lane for look in looks],
        [look.wanted for look in looks],
        [look.suspects for look in looks],
        ["\n".join(sorted(look.types)) if look.types is not None else None for look in looks],
    )
    return [Head(task_id, lane, type_, rank, due_for, lost > 0) for lane, task_id, type_, rank, lost, due_for in rows]


async def claim(connection: Connection, given: Sequence[tuple[int, UUID, int]]) -> list[Claim]:
    """Give (task, instance, agent) triples; those whose gate has closed meanwhile are left out of the answer."""
    ordered = sorted(given)
    rows = await connection.fetch(
        _SQL["claim"], [g[0] for g in ordered], _alike([g[1] for g in ordered]), _alike([g[2] for g in ordered])
    )
    return [_claim(row) for row in rows]


async def held_by(connection: Connection, instances: Sequence[UUID]) -> list[Claim]:
    """Everything the database holds for these instances."""
    return [_claim(row) for row in await connection.fetch(_SQL["held_by"], list(instances))]


def _claim(row: Row) -> Claim:
    return Claim(
        row["id"],
        row["attempt"],
        row["instance_id"],
        row["agent_id"],
        row["type"],
        row["payload"],
        row["priority"],
        row["timeout_ms"],
        row["deadline_at"],
        row["checkpoint"],
        row["suspect"],
    )


async def lanes_with_work(connection: Connection) -> set[str]:
    """The lanes that have a task due now."""
    return {row["lane"] for row in await connection.fetch(_SQL["lanes_with_work"])}


async def complete(connection: Connection, reports: Iterable[Report]) -> set[HeldAttempt]:
    """Complete attempts, each named once; returns those that held their lease and are now completed."""
    ordered = sorted(reports, key=lambda report: report.task_id)
    rows = await connection.fetch(
        _SQL["complete"],
        [report.task_id for report in ordered],
        _alike([report.attempt for report in ordered]),
        _alike([report.instance_id for report in ordered]),
        [report.result for report in ordered],
        _sparse([report.usage for report in ordered]),
    )
    return {(row[0], row[1], row[2]) for row in rows}


async def lock_held(connection: Connection, reports: Sequence[Report]) -> dict[HeldAttempt, Held]:
    """Lock the tasks whose reported attempt still holds its lease; the others are absent."""
    rows = await connection.fetch(
        _SQL["lock_held"],
        [report.task_id for report in reports],
        [report.attempt for report in reports],
        [report.instance_id for report in reports],
    )
    return {(row[0], row[1], row[2]): Held(*row[3:8]) for row in rows}


@dataclass(frozen=True, slots=True)
class Settled:
    """What was written for one attempt. wait_seconds is how long until the task may be claimed again."""

    task_id: int
    attempt: int
    status: str
    run_at: datetime
    lane: str
    wait_seconds: float


async def settle(
    connection: Connection, settlements: Sequence[tuple[Report, Settlement, int]]
) -> dict[tuple[int, int], Settled]:
    """Write decisions, each with the agent that held the task, for tasks locked by lock_held in this transaction."""
    ordered = sorted(settlements, key=lambda pair: pair[0].task_id)
    rows = await connection.fetch(
        _SQL["settle"],
        [report.task_id for report, _, _ in ordered],
        [report.attempt for report, _, _ in ordered],
        [settlement.status.value for _, settlement, _ in ordered],
        [settlement.delay for _, settlement, _ in ordered],
        [settlement.retry_count for _, settlement, _ in ordered],
        [settlement.lost_count for _, settlement, _ in ordered],
        [settlement.release_count for _, settlement, _ in ordered],
        [settlement.dead_letter for _, settlement, _ in ordered],
        [_error_json(settlement.error, report.attempt) for report, settlement, _ in ordered],
        [report.kind.value for report, _, _ in ordered],
        [_error_json(report.error, report.attempt) for report, _, _ in ordered],
        [agent_id for _, _, agent_id in ordered],
        [report.instance_id for report, _, _ in ordered],
    )
    return {(row[0], row[1]): Settled(*row) for row in rows}


def _error_json(error: TaskError | None, attempt: int) -> str | None:
    if error is None:
        return None
    return json.dumps(
        {
            "type": _storable(error.type),
            "message": _storable(error.message),
            "attempt": attempt,
            "retryable": error.retryable,
        }
    )


def _storable(text: str) -> str:
    """The text with U+FFFD for what the database cannot keep: NUL and lone surrogates."""
    return _UNSTORABLE.sub("\ufffd", text)


async def find_attempts(
    connection: Connection, attempts: Sequence[tuple[int, int]]
) -> list[tuple[str | None, UUID, str, datetime] | None]:
    """For each (task, attempt): outcome, instance, and the status and run_at of the task now; None if unknown."""
    rows = await connection.fetch(_SQL["find_attempts"], [pair[0] for pair in attempts], [pair[1] for pair in attempts])
    found: list[tuple[str | None, UUID, str, datetime] | None] = [None] * len(attempts)
    for row in rows:
        found[row["ord"] - 1] = (row["outcome"], row["instance_id"], row["status"], row["run_at"])
    return found


async def record_progress(connection: Connection, items: Iterable[Progress]) -> set[tuple[int, int]]:
    """Write progress under the fence; returns the (task, attempt) pairs that were written."""
    ordered = sorted(items, key=lambda item: item.task_id)
    rows = await connection.fetch(
        _SQL["record_progress"],
        [item.task_id for item in ordered],
        [item.attempt for item in ordered],
        [item.instance_id for item in ordered],
        [item.percent for item in ordered],
        [item.message for item in ordered],
        [item.data for item in ordered],
    )
    return {(row[0], row[1]) for row in rows}


async def list_running(connection: Connection, instances: Sequence[UUID]) -> list[tuple[UUID, int, int]]:
    """The attempts these instances hold: (instance, task, attempt)."""
    return [tuple(row) for row in await connection.fetch(_SQL["list_running"], list(instances))]


async def sweep_claims(connection: Connection, limit: int) -> tuple[int, list[HeldAttempt]]:
    """Look at so many claims whose time has come: how many there were, and what runs past its deadline."""
    (looked, *overdue) = await connection.fetch(_SQL["sweep_claims"], limit)
    return looked["task_id"], [(row[0], row[1], row[2]) for row in overdue]


async def list_orphans(connection: Connection, limit: int) -> list[HeldAttempt]:
    """What runs in instances that are dead or gone."""
    return [tuple(row) for row in await connection.fetch(_SQL["list_orphans"], limit)]


async def get_tasks(connection: Connection, ids: Sequence[int]) -> dict[int, Row]:
    """Whole task rows by number; unknown numbers are absent. JSON columns are text."""
    return {row["id"]: row for row in await connection.fetch(_SQL["get_tasks"], list(ids))}


@dataclass(frozen=True, slots=True)
class TaskFilter:
    """What a list of tasks is narrowed to; None does not narrow. before is the cursor: ids below it."""

    before: int | None = None
    agent_id: int | None = None
    created_by: str | None = None
    dead_letter: bool | None = None
    status: str | None = None
    type: str | None = None
    capability: str | None = None


async def list_tasks(connection: Connection, narrowed: TaskFilter, limit: int) -> list[Row]:
    """Newest first; filters without an index look at the newest 100,000 tasks below the cursor."""
    return await connection.fetch(
        _SQL["list_tasks"],
        narrowed.before,
        narrowed.agent_id,
        narrowed.created_by,
        narrowed.dead_letter,
        narrowed.status,
        narrowed.type,
        narrowed.capability,
        limit,
    )


async def count_of_agent(connection: Connection, agent_id: int, created_by: str) -> int:
    """How many tasks of an agent one creator has."""
    return int(await connection.fetchval(_SQL["count_of_agent"], agent_id, created_by))


async def cancel(connection: Connection, task_id: int, actor: str) -> tuple[int, UUID | None] | None:
    """Cancel a task that is not final: (attempt, instance that held it), or None when there was nothing to cancel."""
    row = await connection.fetchrow(_SQL["cancel"], task_id, actor)
    return None if row is None else (row["attempt"], row["instance_id"])


async def redrive(connection: Connection, task_id: int, actor: str) -> str | None:
    """Queue a failed task again with its counters at zero: its lane, or None when it was not failed."""
    row = await connection.fetchrow(_SQL["redrive"], task_id, actor)
    return None if row is None else str(row["lane"])


async def list_attempts(connection: Connection, task_id: int) -> list[Row]:
    """Every attempt at a task, first to last."""
    return await connection.fetch(_SQL["list_attempts"], task_id)


async def explain(connection: Connection, task_id: int) -> list[Row]:
    """The task beside every agent that could take it, one row each, with the gate that holds; empty when unknown."""
    return await connection.fetch(_SQL["explain"], task_id)


async def count_ahead(connection: Connection, task_id: int) -> int:
    """How many due tasks of its lane are claimed before this one, counted up to 1,000."""
    return int(await connection.fetchval(_SQL["count_ahead"], task_id))


async def get_counts(connection: Connection, agent_id: int | None = None) -> list[Row]:
    """How many tasks are in each state, by agent (or capability, while they wait for any agent that has it)."""
    return await connection.fetch(_SQL["get_counts"], agent_id)


async def fold_counts(connection: Connection, limit: int) -> int:
    """Fold count rows into one for each agent; returns by how many rows the table shrank."""
    return int(await connection.fetchval(_SQL["fold_counts"], limit))


@dataclass(frozen=True, slots=True)
class Stretch:
    """One stretch of tasks was looked at: how many were changed, the last number, whether those after it are due too.

    settled is the number up to which nothing is left to do; None: the last one.
    """

    n: int
    last: int | None
    more: bool
    settled: int | None = None


async def free_keys(connection: Connection, after: int, limit: int) -> Stretch:
    """Free the idempotency keys of tasks that ended over 24 hours ago, in so many tasks after a number."""
    (row,) = await connection.fetch(_SQL["free_keys"], after, limit)
    return Stretch(row["n"], row["last"], bool(row["more"]), row["settled"])


async def prune_tasks(connection: Connection, after: int, limit: int, older_than: timedelta) -> Stretch:
    """Delete the tasks that ended longer ago than this, in so many tasks after a number."""
    (row,) = await connection.fetch(_SQL["prune_tasks"], after, limit, older_than)
    return Stretch(row["n"], row["last"], bool(row["more"]))
