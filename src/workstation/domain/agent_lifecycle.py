"""An agent's lifecycle: the table of moves, and what to do next about one agent. Pure: the supervisor acts on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from workstation.domain.restarts import GiveUp, RestartPolicy, Retry, after_failure


class AgentStatus(StrEnum):
    """Where an agent stands."""

    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    ERROR = "error"


# Every legal move, with what brings it about. The lifecycle diagram of docs/ is drawn from this table.
MOVES: Mapping[tuple[AgentStatus, str], AgentStatus] = {
    (AgentStatus.STOPPED, "start command"): AgentStatus.STARTING,
    (AgentStatus.STARTING, "ready"): AgentStatus.RUNNING,
    (AgentStatus.STARTING, "failed"): AgentStatus.ERROR,
    (AgentStatus.STARTING, "stop command"): AgentStatus.STOPPING,
    (AgentStatus.RUNNING, "crash"): AgentStatus.ERROR,
    (AgentStatus.RUNNING, "unhealthy for too long"): AgentStatus.ERROR,
    (AgentStatus.RUNNING, "stop command"): AgentStatus.STOPPING,
    (AgentStatus.STOPPING, "gone"): AgentStatus.STOPPED,
    (AgentStatus.STOPPING, "start command"): AgentStatus.STARTING,
    (AgentStatus.ERROR, "auto-restart"): AgentStatus.STARTING,
    (AgentStatus.ERROR, "max retries"): AgentStatus.STOPPED,
    (AgentStatus.ERROR, "stop command"): AgentStatus.STOPPED,
}


class Seen(StrEnum):
    """What a driver saw of a copy. Unknown is not dead: nothing is killed for it."""

    RUNNING = "running"
    ENDED = "ended"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Copy:
    """The open launch of an agent: what the driver sees, whether its instance lives, and since when which is so."""

    seen: Seen
    ended_because: str
    stopping: bool
    alive: bool
    started_at: datetime
    last_alive_at: datetime | None


@dataclass(frozen=True, slots=True)
class AgentState:
    """One agent as the database and its driver show it. starts are the starts since the last order."""

    desired_running: bool
    status: AgentStatus
    copy: Copy | None
    starts: Sequence[datetime]
    next_start_at: datetime | None
    unhealthy_since: datetime | None
    force_stop: bool
    restart_at: datetime | None
    now: datetime


@dataclass(frozen=True, slots=True)
class Nothing:
    """All is as it should be."""


@dataclass(frozen=True, slots=True)
class Start:
    """Start a copy."""


@dataclass(frozen=True, slots=True)
class BeRunning:
    """It is running: say so."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Stop the copy: drained, then by force; failed says that it is to be counted as a crash."""

    reason: str
    force: bool
    failed: bool


@dataclass(frozen=True, slots=True)
class BeStopped:
    """It is gone, as wanted."""

    reason: str


Action = Nothing | Start | BeRunning | Stop | BeStopped | Retry | GiveUp


def next_action(agent: AgentState, policy: RestartPolicy) -> Action:
    """What to do about one agent now."""
    if agent.copy is not None:
        return _with_copy(agent, agent.copy, policy)
    if not agent.desired_running:
        return Nothing() if agent.status is AgentStatus.STOPPED else BeStopped("stopped as asked")
    if agent.status is AgentStatus.ERROR and agent.next_start_at is None:
        return Nothing()
    if agent.next_start_at is not None and agent.next_start_at > agent.now:
        return Nothing()
    return Start()


def _with_copy(agent: AgentState, copy: Copy, policy: RestartPolicy) -> Action:
    if copy.seen is Seen.ENDED:
        if not agent.desired_running:
            return BeStopped(copy.ended_because)
        return after_failure(agent.starts, agent.now, copy.ended_because, policy)
    if not agent.desired_running:
        return Stop("stop was asked for", force=agent.force_stop, failed=False)
    if agent.restart_at is not None and copy.started_at < agent.restart_at:
        return Stop("restart was asked for", force=False, failed=False)
    if copy.stopping:
        return Stop("it was being stopped when it was wanted again", force=False, failed=False)
    if trouble := _trouble(agent, copy, policy):
        return Stop(trouble, force=not copy.alive, failed=True)
    if copy.alive and agent.status is not AgentStatus.RUNNING:
        return BeRunning()
    return Nothing()


def _trouble(agent: AgentState, copy: Copy, policy: RestartPolicy) -> str | None:
    if not copy.alive:
        if copy.last_alive_at is None:
            late = agent.now - copy.started_at > policy.hello_within
            seconds = policy.hello_within.total_seconds()
            return f"it did not say hello within {seconds:.0f} s of its start" if late else None
        if agent.now - copy.last_alive_at > policy.silent_for:
            return f"nothing was heard from it for {policy.silent_for.total_seconds():.0f} s"
        return None
    if agent.unhealthy_since is not None and agent.now - agent.unhealthy_since > policy.unhealthy_for:
        return f"it was unhealthy for {policy.unhealthy_for.total_seconds():.0f} s"
    return None
