"""Tasks on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta, Raw

from workstation.api.schemas.common import Id, JsonObject, NumberCursor, PageLimit
from workstation.domain.explain import Explanation
from workstation.store.database import Row

StatusName = Literal["waiting", "pending", "running", "completed", "failed", "cancelled"]
TypeName: TypeAlias = Annotated[str, Meta(min_length=1, max_length=100)]
# No @: it stands between the capability or agent and the region in the name of a lane.
Word: TypeAlias = Annotated[str, Meta(pattern="^[A-Za-z0-9][A-Za-z0-9._:/-]{0,99}$")]
Timeout: TypeAlias = Annotated[int, Meta(ge=1000, le=86_400_000)]


class CreateTask(msgspec.Struct, frozen=True, kw_only=True):
    """A task for an agent, or for any agent that has a capability: exactly one of the two is named."""

    agent_id: Id | None = msgspec.field(name="agentId", default=None)
    capability: Word | None = None
    type: TypeName
    payload: JsonObject
    priority: Annotated[int, Meta(ge=1, le=10, description="10 goes first")] | None = None
    max_retries: Annotated[int, Meta(ge=0, le=100, description="Tries after the first")] | None = None
    timeout_ms: Timeout | None = None
    run_at: Annotated[datetime, Meta(tz=True, description="Not before; RFC 3339 with an offset")] | None = None
    region: Word | None = None
    idempotency_key: Annotated[str, Meta(min_length=1, max_length=255)] | None = None


class CreateTasks(msgspec.Struct, frozen=True, kw_only=True):
    """Up to 1,000 tasks: all are created, or none."""

    tasks: Annotated[list[CreateTask], Meta(min_length=1, max_length=1000)]


class TaskId(msgspec.Struct, frozen=True):
    """The number of a new task."""

    taskId: str


class TaskCreated(msgspec.Struct, frozen=True, kw_only=True):
    """The task is committed."""

    success: Literal[True] = True
    taskId: str
    data: TaskId
    message: str = "Task created successfully"


class TaskIds(msgspec.Struct, frozen=True):
    """The numbers of new tasks, in the order in which they were given."""

    taskIds: list[str]


class GetTaskQuery(msgspec.Struct, frozen=True, kw_only=True):
    """How long to wait for the end of the task."""

    wait: Annotated[float, Meta(ge=0, le=60, description="Seconds to wait until it is final")] = 0.0


class ListTasksQuery(msgspec.Struct, frozen=True, kw_only=True):
    """A page of tasks. Filters by type, status and capability look at the newest 100,000 below the cursor."""

    limit: PageLimit = 50
    cursor: NumberCursor | None = None
    agent_id: Annotated[str, Meta(pattern="^[0-9]{1,19}$")] | None = msgspec.field(name="agentId", default=None)
    status: StatusName | None = None
    type: TypeName | None = None
    capability: Word | None = None
    created_by: Annotated[str, Meta(max_length=255)] | None = None
    dead_letter: bool | None = None


class AgentTasksQuery(msgspec.Struct, frozen=True, kw_only=True):
    """A page of the tasks of one agent."""

    limit: PageLimit = 50
    cursor: NumberCursor | None = None
    status: StatusName | None = None


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """A task as it is now. attempt counts claims; retry_count the charged retries; result is the agent's JSON.

    error is `{type, message, attempt, retryable}` of the last attempt that failed.
    """

    id: str
    agent_id: str | None
    agent_name: str | None
    capability: str | None
    type: str
    payload: JsonObject
    priority: int
    status: StatusName
    result: Raw | None
    error: JsonObject | None
    progress: JsonObject | None
    created_by: str | None
    retry_count: int
    max_retries: int
    attempt: int
    lost_count: int
    dead_letter: bool
    timeout_ms: int
    region: str | None
    idempotency_key: str | None
    run_at: datetime
    created_at: datetime | None
    started_at: datetime | None
    completed_at: datetime | None
    deadline_at: datetime | None


class TaskList(msgspec.Struct, frozen=True, kw_only=True):
    """Tasks, newest first; next is the cursor of the page that follows, null at the end."""

    tasks: list[Task]
    next: str | None


class AgentTaskList(msgspec.Struct, frozen=True, kw_only=True):
    """Tasks of one agent, newest first; total counts all of them that you may see."""

    tasks: list[Task]
    total: int
    next: str | None


class TaskState(msgspec.Struct, frozen=True):
    """Where a task stands."""

    id: str
    status: StatusName


class TaskChanged(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for is done."""

    success: Literal[True] = True
    message: str
    data: TaskState


class GateItem(msgspec.Struct, frozen=True):
    """One gate: open or not, and one sentence about it; agent where it is that agent's."""

    gate: str
    open: bool
    message: str
    agent: str | None


class TaskExplanation(msgspec.Struct, frozen=True, kw_only=True):
    """Why a task is where it is. held_by is the gate that holds it, null when nothing does."""

    id: str
    status: StatusName
    summary: str
    held_by: str | None
    gates: list[GateItem]


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One try: who had it, and how it ended; outcome is null while it runs."""

    attempt: int
    agent_id: str
    agent_name: str | None
    instance_id: str
    claimed_at: datetime
    ended_at: datetime | None
    outcome: Literal["completed", "failed", "timed_out", "released", "lost", "cancelled"] | None
    error: JsonObject | None
    usage: Raw | None


class AttemptList(msgspec.Struct, frozen=True):
    """Every try, first to last."""

    attempts: list[Attempt]


def text_id(number: int | None) -> str | None:
    """A number as it goes over the wire."""
    return None if number is None else str(number)


def raw(text: str | None) -> Raw | None:
    """JSON text as it goes over the wire: untouched."""
    return None if text is None else Raw(text.encode())


def task(row: Row) -> Task:
    """A row as it is shown."""
    return Task(
        id=str(row["id"]),
        agent_id=text_id(row["agent_id"]),
        agent_name=row["agent_name"],
        capability=row["capability"],
        type=row["type"],
        payload=Raw(row["payload"].encode()),
        priority=row["priority"],
        status=row["status"],
        result=raw(row["result"]),
        error=raw(row["error"]),
        progress=raw(row["progress"]),
        created_by=row["created_by"],
        retry_count=row["retry_count"],
        max_retries=row["max_retries"],
        attempt=row["attempt"],
        lost_count=row["lost_count"],
        dead_letter=row["dead_letter"],
        timeout_ms=row["timeout_ms"],
        region=row["region"],
        idempotency_key=row["idempotency_key"],
        run_at=row["run_at"],
        created_at=row["created_at"],
        started_at=row["started_at"],
        completed_at=row["completed_at"],
        deadline_at=row["deadline_at"],
    )


def attempt(row: Row) -> Attempt:
    """A row as it is shown."""
    return Attempt(
        attempt=row["attempt"],
        agent_id=str(row["agent_id"]),
        agent_name=row["agent_name"],
        instance_id=str(row["instance_id"]),
        claimed_at=row["claimed_at"],
        ended_at=row["ended_at"],
        outcome=row["outcome"],
        error=raw(row["error"]),
        usage=raw(row["usage"]),
    )


def explanation(found: Explanation) -> TaskExplanation:
    """An explanation as it is shown."""
    return TaskExplanation(
        id=str(found.task_id),
        status=found.status,  # type: ignore[arg-type]  # the database knows no other words
        summary=found.summary,
        held_by=found.held_by,
        gates=[GateItem(gate.gate, gate.open, gate.message, gate.agent) for gate in found.gates],
    )
