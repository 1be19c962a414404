"""What every runtime driver is: the protocol and the values that cross it."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol, TypeAlias
from uuid import UUID

Handle: TypeAlias = dict[str, Any]
"""JSON-able, stored with the instance: whatever a fresh driver needs to find the copy after our restart."""


class RuntimeFailure(Exception):
    """A copy of an agent could not be started, looked at or stopped.

    `reason` is one sentence for the operator; `retryable` says whether the same call may succeed later.
    """

    def __init__(self, reason: str, *, retryable: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retryable = retryable


@dataclass(frozen=True, slots=True)
class Limits:
    """Upper bounds for one copy, None for no bound: `memory_bytes`, and `cpus` in cores (0.5 is a half)."""

    memory_bytes: int | None = None
    cpus: float | None = None


@dataclass(frozen=True, slots=True)
class LaunchSpec:
    """Everything needed to start one copy of an agent.

    `run` is the agent's run spec as registered; `env` is added to the little a copy inherits;
    `log_path` receives standard output and standard error (appended).
    """

    launch_id: UUID
    agent_id: int
    agent_name: str
    run: Mapping[str, Any]
    log_path: Path
    env: Mapping[str, str] = field(default_factory=dict)
    limits: Limits = Limits()


class CopyState(StrEnum):
    """What is known of a copy. `UNKNOWN` is never a reason to kill or replace it."""

    RUNNING = "running"
    EXITED = "exited"
    GONE = "gone"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Observation:
    """One look at a copy.

    `EXITED` carries `code`, or `signal` (its number), or neither where the end was seen but not its cause.
    `GONE` means that no such copy exists here any more and nobody saw how it ended.
    `since` is when this state began, as far as it is known (UTC).
    """

    state: CopyState
    since: datetime
    code: int | None = None
    signal: int | None = None

    @property
    def running(self) -> bool:
        """True while the copy is known to run."""
        return self.state is CopyState.RUNNING


@dataclass(frozen=True, slots=True)
class Usage:
    """What a copy and its descendants use: CPU seconds so far, resident bytes now, number of processes."""

    cpu_seconds: float
    memory_bytes: int
    processes: int


class Driver(Protocol):
    """Starts copies of agents and finds, watches and stops them by their handle alone.

    Every method but `start` works on a handle that another driver object made, before our restart.
    """

    @property
    def name(self) -> str:
        """The runtime's name as the registry stores it."""

    async def start(self, spec: LaunchSpec) -> Handle:
        """Start one copy and return its handle; raise RuntimeFailure when it cannot be started."""

    async def inspect(self, handle: Handle) -> Observation:
        """Look at the copy once, without waiting."""

    async def wait(self, handle: Handle) -> Observation:
        """Wait until the copy does not run any more, then say how it ended."""

    async def stop(self, handle: Handle, grace: timedelta) -> Observation:
        """Ask the copy to end, end it by force after `grace`, with everything it started. Idempotent."""

    async def logs(self, handle: Handle, lines: int) -> list[str]:
        """The last `lines` lines of its output, oldest first, without line ends."""

    def follow(self, handle: Handle, lines: int = 10) -> AsyncIterator[str]:
        """The last `lines` lines, then each new line as it comes; ends after the copy has."""

    async def stats(self, handle: Handle) -> Usage | None:
        """What it uses now, or None when it does not run."""

    async def close(self) -> None:
        """Let go of what this driver object holds. Copies keep running."""


def utc_now() -> datetime:
    """The time of this machine in UTC, for what drivers observe; tasks go by the database's clock."""
    return datetime.now(UTC)
