"""The verbs of a task once it exists: look, list, cancel, redrive, explain. Each asks who is asking."""

from __future__ import annotations

from dataclasses import dataclass, replace
from uuid import UUID

from workstation.domain.errors import Conflict, Forbidden, NotFound
from workstation.domain.explain import Explanation, explain
from workstation.domain.principal import Principal, Role
from workstation.services.facts import candidates_of, facts_of
from workstation.store import agents as agent_store
from workstation.store import tasks as store
from workstation.store.database import Connection, Database, Row
from workstation.store.tasks import TaskFilter


def require_visible(row: Row | None, task_id: int, principal: Principal) -> Row:
    """The row, if this caller may know of the task: its creator, who holds it, or who sees everything."""
    if row is None or not _may_see(row, principal):
        raise NotFound(f"There is no task {task_id}, or it is not yours.")
    return row


def _may_see(row: Row, principal: Principal) -> bool:
    if principal.sees_everything or row["created_by"] == principal.owner:
        return True
    return principal.role is Role.AGENT and row["agent_id"] == principal.agent_id and row["status"] == "running"


def require_changeable(row: Row | None, task_id: int, principal: Principal) -> Row:
    """The row, if this caller may change the task: its creator, an operator or an admin."""
    found = require_visible(row, task_id, principal)
    if principal.acts_on_everything or (found["created_by"] == principal.owner and principal.role is not Role.VIEWER):
        return found
    raise Forbidden("Only who created this task, an operator or an admin may change it.")


async def get_task(database: Database, task_id: int, principal: Principal) -> Row:
    """One task; raises NotFound."""
    async with database.session() as connection:
        return await _get(connection, task_id, principal)


async def _get(connection: Connection, task_id: int, principal: Principal) -> Row:
    rows = await store.get_tasks(connection, [task_id])
    return require_visible(rows.get(task_id), task_id, principal)


@dataclass(frozen=True, slots=True)
class TaskPage:
    """One page of tasks, newest first. next is the cursor of the next page, or None at the end."""

    tasks: list[Row]
    next: int | None


async def list_tasks(database: Database, narrowed: TaskFilter, limit: int, principal: Principal) -> TaskPage:
    """Tasks this caller may see."""
    if not principal.sees_everything:
        if narrowed.created_by not in (None, principal.owner):
            return TaskPage([], None)
        narrowed = replace(narrowed, created_by=principal.owner)
    async with database.session() as connection:
        rows = await store.list_tasks(connection, narrowed, limit + 1)
    page = rows[:limit]
    return TaskPage(page, page[-1]["id"] if len(rows) > limit else None)


async def count_of_agent(database: Database, agent_id: int, principal: Principal) -> int:
    """How many tasks of an agent this caller may see; raises NotFound for an unknown agent."""
    async with database.session() as connection:
        if agent_id not in await agent_store.get_agents(connection, [agent_id]):
            raise NotFound(f"There is no agent {agent_id}; list them with GET /api/agents.")
        if not principal.sees_everything:
            return await store.count_of_agent(connection, agent_id, principal.owner)
        rows = await store.get_counts(connection, agent_id)
    states = ("waiting", "pending", "running", "completed", "failed", "cancelled")
    return sum(row[state] for row in rows for state in states)


@dataclass(frozen=True, slots=True)
class Cancelled:
    """A cancelled task: the attempt that was under way, and the instance that worked on it, if one did."""

    attempt: int
    instance_id: UUID | None


async def cancel(database: Database, task_id: int, principal: Principal) -> Cancelled:
    """Cancel a task that is not final: a pending one never starts, a running one is settled at once.

    Raises Conflict when it is final already; the caller tells the instance to stop.
    """
    async with database.transaction("cancel") as connection:
        rows = await store.get_tasks(connection, [task_id])
        row = require_changeable(rows.get(task_id), task_id, principal)
        done = await store.cancel(connection, task_id, principal.owner)
        if done is None:
            raise Conflict(f"Task {task_id} is {row['status']} already and cannot be cancelled.")
        return Cancelled(*done)


async def redrive(database: Database, task_id: int, principal: Principal) -> str:
    """Queue a failed task again, with its retries and losses at zero; returns its lane. Raises Conflict."""
    async with database.transaction("redrive") as connection:
        rows = await store.get_tasks(connection, [task_id])
        row = require_changeable(rows.get(task_id), task_id, principal)
        lane = await store.redrive(connection, task_id, principal.owner)
        if lane is None:
            raise Conflict(f"Task {task_id} is {row['status']}; only a failed task can be redriven.")
        return lane


async def list_attempts(database: Database, task_id: int, principal: Principal) -> list[Row]:
    """Every attempt at a task, first to last."""
    async with database.session() as connection:
        await _get(connection, task_id, principal)
        return await store.list_attempts(connection, task_id)


async def explain_task(database: Database, task_id: int, principal: Principal) -> Explanation:
    """Why a task is where it is, gate by gate, asked of the same predicates the claim asks."""
    async with database.session() as connection:
        await _get(connection, task_id, principal)
        rows = await store.explain(connection, task_id)
        if not rows:
            raise NotFound(f"There is no task {task_id}, or it is not yours.")
        ahead = await store.count_ahead(connection, task_id) if rows[0]["status"] == "pending" else 0
    return explain(facts_of(rows[0], ahead), candidates_of(rows))
