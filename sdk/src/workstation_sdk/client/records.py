"""What the server tells, as typed values: fields it adds are ignored, fields it leaves out have defaults."""

from datetime import datetime
from typing import Any

import msgspec

FINAL = frozenset({"completed", "failed", "cancelled"})


class TaskError(msgspec.Struct, frozen=True):
    """Why the latest attempt of a task failed."""

    message: str = ""
    type: str | None = None
    attempt: int | None = None
    retryable: bool | None = None


class TaskProgress(msgspec.Struct, frozen=True):
    """How far a running task says it is."""

    percent: float | None = None
    message: str | None = None
    data: Any = None


class Task(msgspec.Struct, frozen=True):
    """A task as it is now."""

    id: str
    type: str = ""
    status: str = ""
    agent_id: str | None = None
    agent_name: str | None = None
    capability: str | None = None
    region: str | None = None
    payload: Any = None
    priority: int = 5
    result: Any = None
    error: TaskError | None = None
    progress: TaskProgress | None = None
    attempt: int = 0
    retry_count: int = 0
    max_retries: int = 3
    lost_count: int = 0
    timeout_ms: int | None = None
    dead_letter: bool = False
    idempotency_key: str | None = None
    created_by: str | None = None
    created_at: datetime | None = None
    run_at: datetime | None = None
    started_at: datetime | None = None
    deadline_at: datetime | None = None
    completed_at: datetime | None = None

    @property
    def final(self) -> bool:
        """Whether it is completed, failed or cancelled."""
        return self.status in FINAL


class TaskPage(msgspec.Struct, frozen=True):
    """Some tasks, and the cursor of the next page or None."""

    tasks: list[Task]
    next: str | None = None
    total: int | None = None


class TaskAttempt(msgspec.Struct, frozen=True):
    """One try at a task."""

    attempt: int
    outcome: str | None = None
    agent_id: str | None = None
    instance_id: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    error: TaskError | None = None
    usage: Any = None


class Gate(msgspec.Struct, frozen=True):
    """One condition for a task to run: whether it is open, and why."""

    name: str = ""
    open: bool = False
    message: str = ""


class Explanation(msgspec.Struct, frozen=True):
    """Why a task is where it is."""

    status: str = ""
    summary: str = ""
    gates: list[Gate] = []


class AgentRecord(msgspec.Struct, frozen=True, rename="camel"):
    """An agent as the registry knows it."""

    id: str
    name: str = ""
    type: str = ""
    status: str = ""
    desired_status: str | None = None
    health_status: str | None = None
    capabilities: list[str] | None = None
    container_name: str | None = None
    runtime: str | None = None
    region: str | None = None
    version: str | None = None
    metadata: Any = None
    health_metadata: Any = None
    last_health_check: datetime | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None


class AgentStatistics(msgspec.Struct, frozen=True):
    """What an agent's tasks came to."""

    total_tasks: int = 0
    completed_tasks: int = 0
    failed_tasks: int = 0
    active_tasks: int = 0
    avg_execution_time_ms: float | None = None


class AgentDetail(msgspec.Struct, frozen=True):
    """An agent and its statistics."""

    agent: AgentRecord
    stats: AgentStatistics = AgentStatistics()


class Decision(msgspec.Struct, frozen=True):
    """One thing that was decided about an agent's state."""

    at: datetime | None = None
    decision: str = ""
    reason: str = ""


class AgentReasons(msgspec.Struct, frozen=True):
    """Why an agent is in its state, and when something is tried next."""

    status: str = ""
    reason: str = ""
    next_try_at: datetime | None = None
    decisions: list[Decision] = []


class Overview(msgspec.Struct, frozen=True, rename="camel"):
    """The whole system in numbers."""

    total_agents: int = 0
    running_agents: int = 0
    stopped_agents: int = 0
    healthy_agents: int = 0
    degraded_agents: int = 0
    unhealthy_agents: int = 0
    pending_tasks: int = 0
    mcp_containers: int = 0
    agents_by_type: dict[str, int] = {}


class TokenRecord(msgspec.Struct, frozen=True):
    """A token without its secret."""

    id: str
    role: str = ""
    subject: str | None = None
    agent_id: str | None = None
    created_at: datetime | None = None
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None


class NewToken(msgspec.Struct, frozen=True):
    """A token just made; it is shown this once."""

    token: str
    id: str | None = None
    expires_at: datetime | None = None
