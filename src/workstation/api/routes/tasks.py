"""Tasks: create, look, wait, list, cancel, redrive, explain."""

from __future__ import annotations

from typing import Final

from workstation.api import ids
from workstation.api.call import Call, Reply
from workstation.api.errors import wrong
from workstation.api.new_task import new_task
from workstation.api.routing import MIB, Route
from workstation.api.rules import CHANGE_TASKS, READ_TASKS
from workstation.api.schemas.common import Data
from workstation.api.schemas.tasks import (
    AttemptList,
    CreateTask,
    CreateTasks,
    GetTaskQuery,
    ListTasksQuery,
    Task,
    TaskChanged,
    TaskCreated,
    TaskExplanation,
    TaskId,
    TaskIds,
    TaskList,
    TaskState,
    attempt,
    explanation,
    task,
)
from workstation.domain.tasks import FINAL
from workstation.services import tasks
from workstation.store.database import Row
from workstation.store.tasks import TaskFilter

_REPLAYED: Final = [(b"idempotent-replayed", b"true")]
_KEY: Final = {
    "Idempotency-Key": {
        "description": "The same key and body within 24 hours after the end returns the same task.",
        "schema": {"type": "string", "maxLength": 255, "pattern": "^[!-~]+$"},
    }
}
_EXAMPLE: Final = {
    "agentId": "1",
    "type": "scrape",
    "payload": {"url": "https://example.com", "selectors": ["h1", ".content"]},
    "priority": 8,
}


async def create_task(call: Call) -> Reply:
    """Create a task. Once answered it is committed; it runs as soon as its agent has room."""
    using = call.using
    payload = call.document["payload"]
    new = new_task(call.body, payload, call.principal.owner, _header_key(call), using.settings.max_payload_bytes)
    await using.admission.check(new, payload)
    (made,) = await using.dispatcher.submitter.submit((new,))
    number = str(made.task_id)
    shown = TaskCreated(taskId=number, data=TaskId(number))
    return Reply(shown, 200, _REPLAYED) if made.replayed else Reply(shown, 201)


async def create_tasks(call: Call) -> Reply:
    """Create up to 1,000 tasks: all of them, or none."""
    using = call.using
    body: CreateTasks = call.body
    key = _header_key(call)
    new = []
    for index, (asked, document) in enumerate(zip(body.tasks, call.document["tasks"], strict=True)):
        own_key = None if key is None else f"{key}#{index}"
        payload, at = document["payload"], f"tasks[{index}]."
        made = new_task(asked, payload, call.principal.owner, own_key, using.settings.max_payload_bytes, at)
        await using.admission.check(made, payload, at)
        new.append(made)
    submitted = await using.dispatcher.submitter.submit(new)
    shown = Data(data=TaskIds([str(made.task_id) for made in submitted]))
    replayed = all(made.replayed for made in submitted)
    return Reply(shown, 200, _REPLAYED) if replayed else Reply(shown, 201)


def _header_key(call: Call) -> str | None:
    given = call.headers.get(b"idempotency-key")
    if given is None:
        return None
    key = given.decode("latin-1").strip()
    if not 0 < len(key) <= 255 or not key.isascii() or not key.isprintable():
        raise wrong("Idempotency-Key", "must be 1 to 255 printable ASCII characters")
    return key


async def get_task(call: Call) -> Reply:
    """A task as it is now, or as it is when it has become final within the wait."""
    query: GetTaskQuery = call.query
    task_id = ids.number(call.params[0], "id")
    row = await _find(call, task_id)
    if query.wait > 0 and row["status"] not in FINAL:
        row = await _wait(call, task_id, query.wait)
    return Reply(Data(data=task(row)))


async def _find(call: Call, task_id: int) -> Row:
    row = await call.using.dispatcher.get(task_id)
    return tasks.require_visible(row, task_id, call.principal)


async def _wait(call: Call, task_id: int, seconds: float) -> Row:
    clock, waiters = call.using.clock.monotonic, call.using.dispatcher.waiters
    until = clock() + seconds
    while True:
        with waiters.bell(task_id) as bell:
            row = await _find(call, task_id)
            left = until - clock()
            if row["status"] in FINAL or left <= 0:
                return row
            await waiters.wait(bell, left)


async def list_tasks(call: Call) -> Reply:
    """The tasks you may see, newest first."""
    query: ListTasksQuery = call.query
    narrowed = TaskFilter(
        before=None if query.cursor is None else ids.number(query.cursor, "cursor"),
        agent_id=None if query.agent_id is None else ids.number(query.agent_id, "agentId"),
        created_by=query.created_by,
        dead_letter=query.dead_letter,
        status=query.status,
        type=query.type,
        capability=query.capability,
    )
    page = await tasks.list_tasks(call.using.database, narrowed, query.limit, call.principal)
    shown = TaskList(tasks=[task(row) for row in page.tasks], next=None if page.next is None else str(page.next))
    return Reply(Data(data=shown))


async def cancel_task(call: Call) -> Reply:
    """Cancel a task that is not final: a pending one never starts, the agent of a running one is told to stop."""
    task_id = ids.number(call.params[0], "id")
    cancelled = await tasks.cancel(call.using.database, task_id, call.principal)
    call.using.dispatcher.cancelled(task_id, cancelled.attempt, cancelled.instance_id)
    state = TaskState(str(task_id), "cancelled")
    return Reply(TaskChanged(message=f"Task {task_id} cancelled successfully", data=state))


async def redrive_task(call: Call) -> Reply:
    """Queue a failed task again, with its retries and losses at zero."""
    task_id = ids.number(call.params[0], "id")
    lane = await tasks.redrive(call.using.database, task_id, call.principal)
    call.using.dispatcher.mark(lane)
    state = TaskState(str(task_id), "pending")
    return Reply(TaskChanged(message=f"Task {task_id} redriven successfully", data=state))


async def explain_task(call: Call) -> Reply:
    """Why a task is where it is, gate by gate."""
    task_id = ids.number(call.params[0], "id")
    found = await tasks.explain_task(call.using.database, task_id, call.principal)
    return Reply(Data(data=explanation(found)))


async def list_attempts(call: Call) -> Reply:
    """Every attempt at a task with its outcome, first to last."""
    task_id = ids.number(call.params[0], "id")
    rows = await tasks.list_attempts(call.using.database, task_id, call.principal)
    return Reply(Data(data=AttemptList([attempt(row) for row in rows])))


def _waits(call: Call) -> bool:
    return bool(call.query.wait)


_SUBMIT_ERRORS: Final = ("not_found", "conflict", "payload_invalid", "unknown_type", "queue_full")

ROUTES: Final = (
    Route(
        "POST",
        "/api/agents/tasks",
        create_task,
        CHANGE_TASKS,
        "Create a task",
        "tasks",
        {201: TaskCreated, 200: TaskCreated},
        _SUBMIT_ERRORS,
        body=CreateTask,
        headers=_KEY,
        description="200 with `Idempotent-Replayed: true` when the task was there already under its idempotency key.",
        body_example=_EXAMPLE,
    ),
    Route(
        "POST",
        "/api/agents/tasks/batch",
        create_tasks,
        CHANGE_TASKS,
        "Create many tasks",
        "tasks",
        {201: Data[TaskIds], 200: Data[TaskIds]},
        _SUBMIT_ERRORS,
        body=CreateTasks,
        body_limit=16 * MIB,
        headers=_KEY,
        description="A key in the header counts as `key#index` for each task.",
        body_example={"tasks": [_EXAMPLE]},
    ),
    Route(
        "GET",
        "/api/agents/tasks",
        list_tasks,
        READ_TASKS,
        "List tasks",
        "tasks",
        {200: Data[TaskList]},
        query=ListTasksQuery,
    ),
    Route(
        "GET",
        "/api/agents/tasks/:id",
        get_task,
        READ_TASKS,
        "Look at a task, or wait for it",
        "tasks",
        {200: Data[Task]},
        ("not_found",),
        query=GetTaskQuery,
        watched=_waits,
    ),
    Route(
        "POST",
        "/api/agents/tasks/:id/cancel",
        cancel_task,
        CHANGE_TASKS,
        "Cancel a task",
        "tasks",
        {200: TaskChanged},
        ("not_found", "conflict"),
        audit="task.cancel",
    ),
    Route(
        "POST",
        "/api/agents/tasks/:id/redrive",
        redrive_task,
        CHANGE_TASKS,
        "Queue a failed task again",
        "tasks",
        {200: TaskChanged},
        ("not_found", "conflict"),
        audit="task.redrive",
    ),
    Route(
        "GET",
        "/api/agents/tasks/:id/explain",
        explain_task,
        READ_TASKS,
        "Why is a task where it is?",
        "tasks",
        {200: Data[TaskExplanation]},
        ("not_found",),
    ),
    Route(
        "GET",
        "/api/agents/tasks/:id/attempts",
        list_attempts,
        READ_TASKS,
        "List the attempts at a task",
        "tasks",
        {200: Data[AttemptList]},
        ("not_found",),
    ),
)
