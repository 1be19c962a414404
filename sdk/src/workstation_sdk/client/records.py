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


class TaskAttempt(msgspec.Struct, frozen=True):
    """One try at a task; its outcome is None while it runs."""

    attempt: int
    outcome: str | None = None
    agent_id: str | None = None
    agent_name: str | None = None
    instance_id: str | None = None
    claimed_at: datetime | None = None
    ended_at: datetime | None = None
    error: TaskError | None = None
    usage: Any = None


class Gate(msgspec.Struct, frozen=True):
    """One condition for a task to run: whether it is open, and why; `agent` where it is that agent's."""

    gate: str = ""
    open: bool = False
    message: str = ""
    agent: str | None = None


class Explanation(msgspec.Struct, frozen=True):
    """Why a task is where it is; `held_by` is the gate that holds it, or None."""

    id: str = ""
    status: str = ""
    summary: str = ""
    held_by: str | None = None
    gates: list[Gate] = []


_AGENT_NAMES = {
    "container_name": "containerName",
    "health_status": "healthStatus",
    "last_health_check": "lastHealthCheck",
}


class AgentRecord(msgspec.Struct, frozen=True, rename=_AGENT_NAMES):
    """An agent as the registry knows it."""

    id: str
    name: str = ""
    type: str = ""
    status: str = ""
    desired_status: str | None = None
    status_reason: str | None = None
    status_changed_at: datetime | None = None
    health_status: str | None = None
    health_metadata: Any = None
    last_health_check: datetime | None = None
    capabilities: list[str] | None = None
    task_types: dict[str, Any] | None = None
    container_name: str | None = None
    runtime: str | None = None
    run: Any = None
    region: str | None = None
    max_concurrency: int | None = None
    metadata: Any = None
    built_in: bool = False
    version: int | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None


class AgentStatistics(msgspec.Struct, frozen=True):
    """What an agent's tasks came to."""

    total_tasks: int = 0
    completed_tasks: int = 0
    failed_tasks: int = 0
    cancelled_tasks: int = 0
    active_tasks: int = 0
    avg_execution_time_ms: float | None = None


class AgentDetail(msgspec.Struct, frozen=True):
    """An agent and its statistics."""

    agent: AgentRecord
    stats: AgentStatistics = AgentStatistics()


class Launch(msgspec.Struct, frozen=True):
    """One start of an agent, and how it ended."""

    id: str = ""
    driver: str = ""
    status: str = ""
    started_at: datetime | None = None
    ready_at: datetime | None = None
    ended_at: datetime | None = None
    exit_code: int | None = None
    reason: str | None = None


class AgentReasons(msgspec.Struct, frozen=True, rename={"health_status": "healthStatus"}):
    """Why an agent is in its state: the reason, the next try, and the last starts, newest first."""

    id: str = ""
    status: str = ""
    desired_status: str = ""
    health_status: str = ""
    status_reason: str | None = None
    status_changed_at: datetime | None = None
    next_start_at: datetime | None = None
    unhealthy_since: datetime | None = None
    launches: list[Launch] = []


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
    """A token without its text."""

    id: str
    role: str = ""
    subject: str | None = None
    agent_id: str | None = None
    created_by: str | None = None
    created_at: datetime | None = None
    expires_at: datetime | None = None
    revoked_at: datetime | None = None


class TokenPage(msgspec.Struct, frozen=True):
    """Some tokens, and the cursor of the next page or None."""

    tokens: list[TokenRecord]
    next: str | None = None


class NewToken(msgspec.Struct, frozen=True):
    """A token just made; its text is shown this once."""

    token: str
    id: str | None = None
    role: str = ""
    subject: str | None = None
    agent_id: str | None = None
    expires_at: datetime | None = None
