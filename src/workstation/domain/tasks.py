"""Tasks as values: what is asked, what an agent says of it, and the states between."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

import msgspec

MAX_PRIORITY = 10
DEFAULT_PRIORITY = 5
DEFAULT_MAX_RETRIES = 3
DEFAULT_TIMEOUT = timedelta(seconds=30)
MIN_TIMEOUT = timedelta(seconds=1)
MAX_TIMEOUT = timedelta(days=1)


class TaskStatus(StrEnum):
    """Where a task stands."""

    WAITING = "waiting"
    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


FINAL = frozenset({TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.CANCELLED})

# Every legal move. The state diagram of docs/ is drawn from this table.
MOVES: Mapping[TaskStatus, frozenset[TaskStatus]] = {
    TaskStatus.WAITING: frozenset({TaskStatus.PENDING, TaskStatus.CANCELLED}),
    TaskStatus.PENDING: frozenset({TaskStatus.RUNNING, TaskStatus.CANCELLED}),
    TaskStatus.RUNNING: frozenset({TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.PENDING, TaskStatus.CANCELLED}),
    TaskStatus.FAILED: frozenset({TaskStatus.PENDING}),
    TaskStatus.COMPLETED: frozenset(),
    TaskStatus.CANCELLED: frozenset(),
}


class OutcomeKind(StrEnum):
    """How an attempt ended."""

    COMPLETED = "completed"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    RELEASED = "released"
    LOST = "lost"
    CANCELLED = "cancelled"


class NewTask(msgspec.Struct, frozen=True, gc=False):
    """A task to be created, already checked. payload is JSON text; exactly one of agent_id and capability is set."""

    type: str
    payload: str
    created_by: str
    agent_id: int | None = None
    capability: str | None = None
    priority: int = DEFAULT_PRIORITY
    max_retries: int = DEFAULT_MAX_RETRIES
    timeout_ms: int = 30_000
    run_at: datetime | None = None
    region: str | None = None
    idempotency_key: str | None = None
    request_hash: bytes | None = None


class Submitted(msgspec.Struct, frozen=True, gc=False):
    """The answer to a NewTask: its number, and whether it was there already under its idempotency key."""

    task_id: int
    replayed: bool = False


class Claim(msgspec.Struct, frozen=True, gc=False):
    """One attempt handed to one instance under its lease. payload and checkpoint are JSON text."""

    task_id: int
    attempt: int
    instance_id: UUID
    agent_id: int
    type: str
    payload: str
    priority: int
    timeout_ms: int
    deadline_at: datetime
    checkpoint: str | None = None
    suspect: bool = False


class TaskError(msgspec.Struct, frozen=True, gc=False):
    """Why an attempt failed. retry_after overrides the backoff."""

    message: str
    type: str = "Error"
    retryable: bool = True
    retry_after: timedelta | None = None


class Report(msgspec.Struct, frozen=True, gc=False):
    """What is said of one attempt, by its agent or by the reaper. result and usage are JSON text."""

    task_id: int
    attempt: int
    instance_id: UUID
    kind: OutcomeKind
    result: str | None = None
    usage: str | None = None
    error: TaskError | None = None
    charged: bool = True


class Progress(msgspec.Struct, frozen=True, gc=False):
    """How far an attempt has come. data is JSON text: the checkpoint the next attempt starts with."""

    task_id: int
    attempt: int
    instance_id: UUID
    percent: float | None = None
    message: str | None = None
    data: str | None = None
