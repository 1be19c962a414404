"""The public SDK: write an Agent, or be a Client."""

from importlib import import_module
from typing import TYPE_CHECKING

from workstation_sdk.client.records import (
    AgentDetail,
    AgentReasons,
    AgentRecord,
    AgentStatistics,
    Explanation,
    Gate,
    Launch,
    NewToken,
    Overview,
    Task,
    TaskAttempt,
    TaskError,
    TaskPage,
    TaskProgress,
    TokenPage,
    TokenRecord,
)
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

if TYPE_CHECKING:
    from workstation_sdk.agent import Agent
    from workstation_sdk.client.clients import AsyncClient, Client
    from workstation_sdk.client.tasks import TaskRequest
    from workstation_sdk.context import Context, SyncContext
    from workstation_sdk.staying_connected import Patience

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
    "Gate",
    "Health",
    "Launch",
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
    "TokenPage",
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

# A client needs no event loop and an agent no HTTP client: what is slow to import waits until it is named.
_HOMES = {
    "Agent": "workstation_sdk.agent",
    "AsyncClient": "workstation_sdk.client.clients",
    "Client": "workstation_sdk.client.clients",
    "Context": "workstation_sdk.context",
    "Patience": "workstation_sdk.staying_connected",
    "SyncContext": "workstation_sdk.context",
    "TaskRequest": "workstation_sdk.client.tasks",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
