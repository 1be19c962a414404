"""What the package promises to its users by name."""

import subprocess
import sys

import workstation_sdk
import workstation_sdk.testing


def test_every_public_name_is_listed_and_there() -> None:
    assert sorted(workstation_sdk.__all__) == [
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
    assert all(hasattr(workstation_sdk, name) for name in workstation_sdk.__all__)


def test_the_test_kit_lists_its_names() -> None:
    names = workstation_sdk.testing.__all__
    assert sorted(names) == ["Connection", "FakeServer", "TestOutcome", "run_task"]
    assert all(hasattr(workstation_sdk.testing, name) for name in names)


def test_every_public_name_says_what_it_is() -> None:
    undocumented = [name for name in workstation_sdk.__all__ if not getattr(workstation_sdk, name).__doc__]
    assert undocumented == []


def test_both_clients_have_the_same_verbs() -> None:
    def verbs(kind: type) -> set[str]:
        return {name for name in dir(kind) if not name.startswith("_")}

    assert verbs(workstation_sdk.Client) == verbs(workstation_sdk.AsyncClient)


def test_an_agent_starts_without_importing_the_http_library() -> None:
    program = "import sys; from workstation_sdk import Agent; sys.exit('httpx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
