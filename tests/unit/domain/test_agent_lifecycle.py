"""What the supervisor does next, and every move of the lifecycle taken by it or by an order."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest

from workstation.domain.agent_lifecycle import (
    MOVES,
    Action,
    AgentState,
    AgentStatus,
    BeRunning,
    BeStopped,
    Copy,
    Nothing,
    Seen,
    Start,
    Stop,
    next_action,
)
from workstation.domain.restarts import GiveUp, RestartPolicy, Retry, after_failure

POLICY = RestartPolicy()
NOW = datetime(2026, 1, 1, tzinfo=UTC)
WANTED = AgentState(
    desired_running=True, status=AgentStatus.STOPPED, copy=None, starts=[], next_start_at=None, unhealthy_since=None,
    force_stop=False, restart_at=None, now=NOW,
)  # fmt: skip
COPY = Copy(Seen.RUNNING, "", False, True, NOW - timedelta(minutes=5), NOW)
RUNNING = replace(WANTED, status=AgentStatus.RUNNING, copy=COPY)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def act(state: AgentState) -> Action:
    return next_action(state, POLICY)


def test_an_agent_that_is_wanted_is_started() -> None:
    assert act(WANTED) == Start()


def test_an_agent_that_is_not_wanted_is_left_alone() -> None:
    assert act(replace(WANTED, desired_running=False)) == Nothing()


def test_a_crashed_agent_waits_for_its_next_start() -> None:
    error = replace(WANTED, status=AgentStatus.ERROR, next_start_at=NOW + timedelta(seconds=1))
    assert act(error) == Nothing()
    assert act(replace(error, next_start_at=NOW)) == Start()


def test_an_error_without_a_next_start_waits_for_an_order() -> None:
    assert act(replace(WANTED, status=AgentStatus.ERROR)) == Nothing()


def test_what_runs_as_wanted_is_left_alone() -> None:
    assert act(RUNNING) == Nothing()


def test_a_copy_that_lives_makes_its_agent_running() -> None:
    assert act(replace(RUNNING, status=AgentStatus.STARTING)) == BeRunning()


@pytest.mark.parametrize(("age", "late"), [(29, False), (31, True)])
def test_a_copy_has_thirty_seconds_to_say_hello(age: float, late: bool) -> None:
    silent = replace(COPY, alive=False, last_alive_at=None, started_at=ago(age))
    action = act(replace(RUNNING, status=AgentStatus.STARTING, copy=silent))
    assert isinstance(action, Stop) == late
    if isinstance(action, Stop):
        assert action.failed and action.force and "hello" in action.reason


@pytest.mark.parametrize(("age", "late"), [(44, False), (46, True)])
def test_a_copy_whose_instance_died_has_45_seconds_to_come_back(age: float, late: bool) -> None:
    action = act(replace(RUNNING, copy=replace(COPY, alive=False, last_alive_at=ago(age))))
    assert isinstance(action, Stop) == late


@pytest.mark.parametrize(("age", "late"), [(59, False), (61, True)])
def test_unhealthy_for_a_minute_counts_as_a_crash(age: float, late: bool) -> None:
    action = act(replace(RUNNING, unhealthy_since=ago(age)))
    assert isinstance(action, Stop) == late
    if isinstance(action, Stop):
        assert action.failed and not action.force


def test_what_cannot_be_seen_is_not_dead() -> None:
    assert act(replace(RUNNING, copy=replace(COPY, seen=Seen.UNKNOWN))) == Nothing()


def test_a_crash_is_retried_after_a_growing_pause() -> None:
    ended = replace(COPY, seen=Seen.ENDED, ended_because="it exited with code 1", alive=False)
    pauses = []
    for starts in range(5):
        action = act(replace(RUNNING, copy=ended, starts=[ago(60)] * starts))
        assert isinstance(action, Retry) and action.reason == "it exited with code 1"
        pauses.append((action.next_start_at - NOW).total_seconds())
    assert pauses == [1, 1, 2, 4, 8]


def test_the_fifth_start_in_ten_minutes_is_the_last() -> None:
    ended = replace(COPY, seen=Seen.ENDED, ended_because="it exited with code 1", alive=False)
    action = act(replace(RUNNING, copy=ended, starts=[ago(60)] * 5))
    assert isinstance(action, GiveUp)
    assert action.reason == "given up after 5 starts in 10 minutes: it exited with code 1"


def test_starts_longer_ago_than_the_window_do_not_count() -> None:
    ended = replace(COPY, seen=Seen.ENDED, ended_because="x", alive=False)
    assert isinstance(act(replace(RUNNING, copy=ended, starts=[ago(601)] * 50)), Retry)


def test_the_pause_between_starts_has_a_cap() -> None:
    policy = RestartPolicy(most_starts=100)
    action = after_failure([ago(1)] * 60, NOW, "x", policy)
    assert action == Retry("x", NOW + timedelta(minutes=1))


@pytest.mark.parametrize("force", [False, True])
def test_an_agent_that_is_not_wanted_any_more_is_stopped_as_ordered(force: bool) -> None:
    action = act(replace(RUNNING, desired_running=False, force_stop=force))
    assert action == Stop("stop was asked for", force=force, failed=False)


def test_a_copy_that_ended_when_it_was_not_wanted_is_stopped_not_crashed() -> None:
    ended = replace(COPY, seen=Seen.ENDED, ended_because="it exited with code 0", alive=False)
    assert act(replace(RUNNING, desired_running=False, copy=ended)) == BeStopped("it exited with code 0")


def test_a_restart_replaces_copies_from_before_the_order_only() -> None:
    ordered = replace(RUNNING, status=AgentStatus.STOPPING, restart_at=ago(1))
    action = act(ordered)
    assert isinstance(action, Stop) and not action.failed
    young = replace(COPY, started_at=NOW)
    assert act(replace(ordered, status=AgentStatus.RUNNING, copy=young)) == Nothing()


def test_a_copy_caught_while_stopping_is_stopped_to_the_end_and_replaced() -> None:
    action = act(replace(RUNNING, status=AgentStatus.STARTING, copy=replace(COPY, stopping=True)))
    assert isinstance(action, Stop) and not action.failed


def test_one_that_was_left_between_states_becomes_stopped() -> None:
    for status in (AgentStatus.STOPPING, AgentStatus.STARTING, AgentStatus.RUNNING, AgentStatus.ERROR):
        assert isinstance(act(replace(WANTED, desired_running=False, status=status)), BeStopped)


# -- every move is taken ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Way:
    """A state in which a move is due: what the domain answers, and what the supervisor then says of the agent."""

    state: AgentState
    action: type
    written: Callable[[Action], AgentStatus]


def _after_stop(action: Action) -> AgentStatus:
    assert isinstance(action, Stop)
    return AgentStatus.ERROR if action.failed else AgentStatus.STOPPING


_DEAD = replace(COPY, seen=Seen.ENDED, ended_because="x", alive=False)
_ERROR = replace(WANTED, status=AgentStatus.ERROR, next_start_at=NOW)
_STARTING = replace(WANTED, status=AgentStatus.STARTING, copy=COPY)
_STOPPING = replace(WANTED, status=AgentStatus.STOPPING, desired_running=False)


WAYS: dict[tuple[AgentStatus, str], Way] = {
    (AgentStatus.STOPPED, "start command"): Way(WANTED, Start, lambda _: AgentStatus.STARTING),
    (AgentStatus.STARTING, "ready"): Way(_STARTING, BeRunning, lambda _: AgentStatus.RUNNING),
    (AgentStatus.STARTING, "failed"): Way(replace(_STARTING, copy=_DEAD), Retry, lambda _: AgentStatus.ERROR),
    (AgentStatus.STARTING, "stop command"): Way(replace(_STARTING, desired_running=False), Stop, _after_stop),
    (AgentStatus.RUNNING, "crash"): Way(replace(RUNNING, copy=_DEAD), Retry, lambda _: AgentStatus.ERROR),
    (AgentStatus.RUNNING, "unhealthy for too long"): Way(replace(RUNNING, unhealthy_since=ago(99)), Stop, _after_stop),
    (AgentStatus.RUNNING, "stop command"): Way(replace(RUNNING, desired_running=False), Stop, _after_stop),
    (AgentStatus.STOPPING, "gone"): Way(replace(_STOPPING, copy=_DEAD), BeStopped, lambda _: AgentStatus.STOPPED),
    (AgentStatus.STOPPING, "start command"): Way(
        replace(_STOPPING, desired_running=True), Start, lambda _: AgentStatus.STARTING
    ),
    (AgentStatus.ERROR, "auto-restart"): Way(_ERROR, Start, lambda _: AgentStatus.STARTING),
    (AgentStatus.ERROR, "max retries"): Way(
        replace(_ERROR, copy=_DEAD, starts=[ago(1)] * 5), GiveUp, lambda _: AgentStatus.STOPPED
    ),
    (AgentStatus.ERROR, "stop command"): Way(
        replace(_ERROR, desired_running=False), BeStopped, lambda _: AgentStatus.STOPPED
    ),
}


@pytest.mark.parametrize("move", list(MOVES), ids=lambda move: f"{move[0]}, {move[1]}")
def test_every_move_is_taken(move: tuple[AgentStatus, str]) -> None:
    way = WAYS[move]
    action = act(way.state)
    assert way.state.status is move[0] and isinstance(action, way.action)
    assert way.written(action) is MOVES[move]
