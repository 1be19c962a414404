"""The public SDK: write an Agent, or be a Client."""

from workstation_sdk.agent import Agent
from workstation_sdk.client.clients import AsyncClient, Client
from workstation_sdk.client.records import (
    AgentDetail,
    AgentReasons,
    AgentRecord,
    AgentStatistics,
    Explanation,
    NewToken,
    Overview,
    Task,
    TaskAttempt,
    TaskError,
    TaskPage,
    TaskProgress,
    TokenRecord,
)
from workstation_sdk.client.tasks import TaskRequest
from workstation_sdk.context import Context, SyncContext
from workstation_sdk.environment import Server, data_folder, save_credentials
from workstation_sdk.errors import (
    Conflict,
    ErrorDetail,
    Misconfigured,
    NotAllowed,
    NotFound,
    ProtocolMismatch,
    RateLimited,
    RuntimeFailed,
    TaskFailed,
    Unauthenticated,
    Unavailable,
    Unreachable,
    ValidationFailed,
    WaitTimedOut,
    WorkstationError,
)
from workstation_sdk.health import Health
from workstation_sdk.service import Patience

__all__ = [
    "Agent",
    "AgentDetail",
    "AgentReasons",
    "AgentRecord",
    "AgentStatistics",
    "AsyncClient",
    "Client",
    "Conflict",
    "Context",
    "ErrorDetail",
    "Explanation",
    "Health",
    "Misconfigured",
    "NewToken",
    "NotAllowed",
    "NotFound",
    "Overview",
    "Patience",
    "ProtocolMismatch",
    "RateLimited",
    "RuntimeFailed",
    "Server",
    "SyncContext",
    "Task",
    "TaskAttempt",
    "TaskError",
    "TaskFailed",
    "TaskPage",
    "TaskProgress",
    "TaskRequest",
    "TokenRecord",
    "Unauthenticated",
    "Unavailable",
    "Unreachable",
    "ValidationFailed",
    "WaitTimedOut",
    "WorkstationError",
    "data_folder",
    "save_credentials",
]
