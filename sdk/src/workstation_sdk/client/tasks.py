"""Verbs about tasks."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import msgspec

from workstation_sdk.chance import new_uuid
from workstation_sdk.client.agents import number_of
from workstation_sdk.client.asking import ask
from workstation_sdk.client.envelope import Data, Nothing
from workstation_sdk.client.records import Explanation, Task, TaskAttempt, TaskPage
from workstation_sdk.client.steps import Emit, Pause, Request, Stream, Talk
from workstation_sdk.clock import monotonic
from workstation_sdk.errors import WaitTimedOut

BATCH = 1_000
LONG_POLL_SECONDS = 25.0
WATCH_SECONDS = (0.1, 1.0)
"""How often a watched task is looked at: while it changes, and at most."""


class TaskRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A task to be: for one agent (name or number) or for any with a capability; the server fills in None."""

    type: str
    payload: Mapping[str, object] = msgspec.field(default_factory=dict)
    agent: str | int | None = None
    capability: str | None = None
    priority: int | None = None
    max_retries: int | None = None
    timeout: timedelta | None = None
    run_at: datetime | None = None
    region: str | None = None


class _Submitted(msgspec.Struct, rename="camel"):
    task_id: str


class _ManySubmitted(msgspec.Struct, rename="camel"):
    task_ids: list[str]


class _Attempts(msgspec.Struct):
    attempts: list[TaskAttempt]


def submit(
    type: str,
    payload: Mapping[str, object] | None = None,
    *,
    agent: str | int | None = None,
    capability: str | None = None,
    priority: int | None = None,
    max_retries: int | None = None,
    timeout: timedelta | None = None,
    run_at: datetime | None = None,
    region: str | None = None,
    idempotency_key: str | None = None,
) -> Talk[str]:
    """Submit a task and return its id.

    Without an `idempotency_key` one is made, so that a repetition after a lost answer makes no second task.
    """
    wanted = TaskRequest(
        type=type,
        payload=payload or {},
        agent=agent,
        capability=capability,
        priority=priority,
        max_retries=max_retries,
        timeout=timeout,
        run_at=run_at,
        region=region,
    )
    number = None if agent is None else (yield from number_of(agent))
    headers = {"Idempotency-Key": idempotency_key or new_uuid()}
    body = msgspec.json.encode(_body(wanted, number))
    request = Request("POST", "/api/agents/tasks", body=body, headers=headers)
    return (yield from ask(request, _Submitted)).task_id


def submit_many(tasks: Iterable[TaskRequest], *, idempotency_key: str | None = None) -> Talk[list[str]]:
    """Submit tasks and return their ids in order; a thousand at a time, each thousand all or nothing."""
    wanted = list(tasks)
    key = idempotency_key or new_uuid()
    numbers: dict[str | int, str] = {}
    for agent in dict.fromkeys(task.agent for task in wanted if task.agent is not None):
        numbers[agent] = yield from number_of(agent)
    ids: list[str] = []
    for start in range(0, len(wanted), BATCH):
        part = wanted[start : start + BATCH]
        bodies = [_body(task, None if task.agent is None else numbers[task.agent]) for task in part]
        request = Request(
            "POST",
            "/api/agents/tasks/batch",
            body=msgspec.json.encode({"tasks": bodies}),
            headers={"Idempotency-Key": f"{key}-{start // BATCH}"},
        )
        ids += (yield from ask(request, Data[_ManySubmitted])).data.task_ids
    return ids


def get_task(task_id: str | int) -> Talk[Task]:
    """Return a task as it is now."""
    return (yield from ask(Request("GET", _path(task_id)), Data[Task])).data


def wait_for(task_id: str | int, *, timeout: timedelta | None = None) -> Talk[Task]:
    """Return the task once it is completed, failed or cancelled; raises `WaitTimedOut` after `timeout`."""
    ends = None if timeout is None else monotonic() + timeout.total_seconds()
    while True:
        left = LONG_POLL_SECONDS if ends is None else max(0.0, min(LONG_POLL_SECONDS, ends - monotonic()))
        request = Request("GET", _path(task_id), {"wait": f"{left:.3f}"}, timeout=left + 10.0)
        task = (yield from ask(request, Data[Task])).data
        if task.final:
            return task
        if ends is not None and monotonic() >= ends:
            raise WaitTimedOut(f"task {task_id} is still {task.status} after {timeout}: it goes on, wait again")


def watch(task_id: str | int) -> Stream[Task]:
    """Yield the task as it is, then at each change of its state, attempt or progress, until it is final."""
    soonest, latest = WATCH_SECONDS
    seen, pause = None, soonest
    while True:
        task = yield from get_task(task_id)
        visible = (task.status, task.attempt, task.progress)
        if visible != seen:
            seen, pause = visible, soonest
            yield Emit(task)
        if task.final:
            return
        yield Pause(pause)
        pause = min(pause * 1.5, latest)


def list_tasks(
    *,
    status: str | None = None,
    agent: str | int | None = None,
    type: str | None = None,
    capability: str | None = None,
    dead_letter: bool | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Talk[TaskPage]:
    """Return a page of tasks, newest first; its `next` is the cursor of the page after."""
    number = None if agent is None else (yield from number_of(agent))
    given = {
        "status": status,
        "agentId": number,
        "type": type,
        "capability": capability,
        "dead_letter": None if dead_letter is None else str(dead_letter).lower(),
        "limit": str(limit),
        "cursor": cursor,
    }
    query = {name: value for name, value in given.items() if value is not None}
    return (yield from ask(Request("GET", "/api/agents/tasks", query), Data[TaskPage])).data


def all_tasks(
    *,
    status: str | None = None,
    agent: str | int | None = None,
    type: str | None = None,
    capability: str | None = None,
    dead_letter: bool | None = None,
) -> Stream[Task]:
    """Yield every task that fits, newest first, page after page."""
    number = None if agent is None else (yield from number_of(agent))
    cursor = None
    while True:
        page = yield from list_tasks(
            status=status,
            agent=number,
            type=type,
            capability=capability,
            dead_letter=dead_letter,
            limit=200,
            cursor=cursor,
        )
        for task in page.tasks:
            yield Emit(task)
        cursor = page.next
        if cursor is None:
            return


def cancel_task(task_id: str | int) -> Talk[None]:
    """Cancel a task; raises `Conflict` for one that is final."""
    yield from ask(Request("POST", f"{_path(task_id)}/cancel"), Nothing)


def redrive_task(task_id: str | int) -> Talk[None]:
    """Run a failed task again with all its retries; raises `Conflict` for any other."""
    yield from ask(Request("POST", f"{_path(task_id)}/redrive", repeatable=False), Nothing)


def explain_task(task_id: str | int) -> Talk[Explanation]:
    """Return why a task is where it is, gate by gate."""
    return (yield from ask(Request("GET", f"{_path(task_id)}/explain"), Data[Explanation])).data


def task_attempts(task_id: str | int) -> Talk[list[TaskAttempt]]:
    """Return every attempt at a task with its outcome."""
    return (yield from ask(Request("GET", f"{_path(task_id)}/attempts"), Data[_Attempts])).data.attempts


def _path(task_id: str | int) -> str:
    return f"/api/agents/tasks/{quote(str(task_id), safe='')}"


def _body(task: TaskRequest, agent_id: str | None) -> dict[str, object]:
    fields: dict[str, object | None] = {
        "type": task.type,
        "payload": task.payload,
        "agent_id": agent_id,
        "capability": task.capability,
        "priority": task.priority,
        "max_retries": task.max_retries,
        "timeout_ms": None if task.timeout is None else task.timeout // timedelta(milliseconds=1),
        "run_at": None if task.run_at is None else task.run_at.astimezone(UTC),
        "region": task.region,
    }
    return {name: value for name, value in fields.items() if value is not None}
