"""The agent's side over plain HTTP: claim, heartbeat, progress, complete, fail, release."""

from __future__ import annotations

from datetime import UTC
from typing import Final
from uuid import UUID

from msgspec import UNSET

from workstation.api import ids
from workstation.api.call import Call, Reply
from workstation.api.gateway import frames, reports
from workstation.api.routing import MIB, Route
from workstation.api.rules import BE_AGENT, HOLD_TASK
from workstation.api.schemas.agent_side import (
    Beat,
    ClaimBody,
    Claimed,
    CompleteBody,
    FailBody,
    HeartbeatBody,
    Outcome,
    ProgressBody,
    ReleaseBody,
)
from workstation.api.schemas.agents import json_text
from workstation.api.schemas.common import Data, Nothing
from workstation.domain.errors import LeaseLost, NotFound, TooLarge
from workstation.domain.principal import Role
from workstation.domain.tasks import Report
from workstation.services.instances import HEARTBEAT, LEASE
from workstation.store.agents import HealthReport

_LEASE_MS: Final = int(LEASE.total_seconds() * 1000)
_HEARTBEAT_MS: Final = int(HEARTBEAT.total_seconds() * 1000)


async def claim(call: Call) -> Reply:
    """Ask for work and wait for it. What the instance holds and `holding` lacks is returned again."""
    agent_id = ids.number(call.params[0], "id")
    body: ClaimBody = call.body
    instance = None if body.instance is None else UUID(body.instance)
    instance, claims = await call.using.pulling.claim(
        agent_id, instance, body.slots, body.wait_ms / 1000, _attempts(body.holding)
    )
    shown = Claimed(
        instance=str(instance),
        lease_ms=_LEASE_MS,
        heartbeat_ms=_HEARTBEAT_MS,
        tasks=[frames.task_item(each) for each in claims],
    )
    return Reply(Data(data=shown))


async def heartbeat(call: Call) -> Reply:
    """Renew everything the instance holds, and learn what it is to stop."""
    agent_id = ids.number(call.params[0], "id")
    body: HeartbeatBody = call.body
    stop = await call.using.pulling.heartbeat(agent_id, UUID(body.instance), _attempts(body.holding))
    if body.health_status is not None:
        report = HealthReport(agent_id, body.health_status, json_text(body.metadata))
        await call.using.dispatcher.leases.report_health(report)
    return Reply(Data(data=Beat(_LEASE_MS, [str(task_id) for task_id in stop])))


def _attempts(holding: list[frames.Held] | None) -> list[tuple[int, int]] | None:
    return None if holding is None else [(int(held.task), held.attempt) for held in holding]


async def report_progress(call: Call) -> Reply:
    """Tell how far an attempt has come."""
    body: ProgressBody = call.body
    task_id = await _held_task(call)
    data = UNSET if body.data is None else body.data
    item = frames.ProgressItem(str(task_id), body.attempt, body.percent, body.message, data)
    call.using.pulling.heard(UUID(body.instance))
    await call.using.dispatcher.settler.progress(reports.progressed(item, UUID(body.instance)))
    return Reply(Data(data=Nothing()))


async def complete(call: Call) -> Reply:
    """Finish an attempt. The same call again gets the same answer."""
    body: CompleteBody = call.body
    task_id = await _held_task(call)
    report = reports.completed(task_id, body.attempt, UUID(body.instance), body.result, body.usage)
    reply = await _settle(call, report)
    if report.error is not None:
        raise TooLarge(report.error.message)
    return reply


async def fail(call: Call) -> Reply:
    """Tell that an attempt has failed; the answer says whether it is tried again."""
    body: FailBody = call.body
    task_id = await _held_task(call)
    return await _settle(call, reports.failed(task_id, body.attempt, UUID(body.instance), body.error))


async def release(call: Call) -> Reply:
    """Give an attempt back unharmed."""
    body: ReleaseBody = call.body
    task_id = await _held_task(call)
    return await _settle(call, reports.released(task_id, body.attempt, UUID(body.instance)))


async def _settle(call: Call, report: Report) -> Reply:
    pulling = call.using.pulling
    pulling.heard(report.instance_id)
    pulling.returned(report.instance_id, report.task_id, report.attempt)
    accepted = await call.using.dispatcher.settler.report(report)
    again = accepted.run_at if accepted.status == "pending" else None
    run_at = None if again is None else again.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return Reply(Data(data=Outcome(status=accepted.status, run_at=run_at)))  # type: ignore[arg-type]  # no other words come of a report


async def _held_task(call: Call) -> int:
    """The task of the path, unless it is clear that this agent does not hold it."""
    task_id = ids.number(call.params[0], "id")
    row = await call.using.dispatcher.get(task_id)
    if row is None:
        raise NotFound(f"There is no task {task_id}.")
    if call.principal.role is Role.AGENT and row["agent_id"] not in (None, call.principal.agent_id):
        raise LeaseLost(f"Task {task_id} is not held by this agent any more; drop the work.")
    return task_id


def _waits(call: Call) -> bool:
    return bool(call.body.wait_ms)


_INSTANCE: Final = "5f1d7e5e-6f0c-4e0b-9a35-0c2d8b7c1a11"
_REPORT_ERRORS: Final = ("not_found", "lease_lost")

ROUTES: Final = (
    Route(
        "POST",
        "/api/agents/:id/claim",
        claim,
        BE_AGENT,
        "Claim tasks",
        "agent side",
        {200: Data[Claimed]},
        ("not_found", "conflict", "lease_lost"),
        body=ClaimBody,
        limited=False,
        watched=_waits,
        body_example={"slots": 4, "wait_ms": 30000},
    ),
    Route(
        "POST",
        "/api/agents/:id/heartbeat",
        heartbeat,
        BE_AGENT,
        "Renew what an instance holds",
        "agent side",
        {200: Data[Beat]},
        ("not_found", "lease_lost"),
        body=HeartbeatBody,
        limited=False,
        body_example={"instance": _INSTANCE, "healthStatus": "healthy", "holding": [{"task": "42", "attempt": 1}]},
    ),
    Route(
        "POST",
        "/api/agents/tasks/:id/progress",
        report_progress,
        HOLD_TASK,
        "Report progress",
        "agent side",
        {200: Data[Nothing]},
        _REPORT_ERRORS,
        body=ProgressBody,
        limited=False,
        body_example={"instance": _INSTANCE, "attempt": 1, "percent": 50, "message": "half way"},
    ),
    Route(
        "POST",
        "/api/agents/tasks/:id/complete",
        complete,
        HOLD_TASK,
        "Complete an attempt",
        "agent side",
        {200: Data[Outcome]},
        _REPORT_ERRORS,
        body=CompleteBody,
        body_limit=2 * MIB,
        limited=False,
        body_example={"instance": _INSTANCE, "attempt": 1, "result": {"title": "Example Domain"}},
    ),
    Route(
        "POST",
        "/api/agents/tasks/:id/fail",
        fail,
        HOLD_TASK,
        "Report that an attempt failed",
        "agent side",
        {200: Data[Outcome]},
        _REPORT_ERRORS,
        body=FailBody,
        limited=False,
        body_example={"instance": _INSTANCE, "attempt": 1, "error": {"message": "no route to host"}},
    ),
    Route(
        "POST",
        "/api/agents/tasks/:id/release",
        release,
        HOLD_TASK,
        "Give an attempt back",
        "agent side",
        {200: Data[Outcome]},
        _REPORT_ERRORS,
        body=ReleaseBody,
        limited=False,
        body_example={"instance": _INSTANCE, "attempt": 1},
    ),
)
