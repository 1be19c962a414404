"""What the invariants about leases call broken, and what they do not."""

from __future__ import annotations

from typing import Any

import pytest
from tests.chaos.evidence import Attempt, Change, Evidence, Task
from tests.chaos.invariants import leases
from tests.chaos.recorder import Line

START = 1000.0


def line(at: float, what: str, **about: Any) -> Line:
    """A line of the record; both clocks tell the same."""
    return Line(at, at, "test", what, about)


def given(at: float = START, task: int = 1, attempt: int = 1, instance: str = "i", pid: int = 7) -> Line:
    """An agent received a claim."""
    return line(at, "given", task=task, attempt=attempt, instance=instance, pid=pid)


def fault(name: str, begin: float, end: float) -> tuple[Line, Line]:
    """A fault that was carried out."""
    return line(begin, "fault begins", name=name, seconds=end - begin), line(end, "fault ends", name=name)


def evidence(*lines: Line, attempts: tuple[Attempt, ...] = (), **more: Any) -> Evidence:
    """Evidence of one task."""
    return Evidence(more.pop("tasks", {}), attempts, more.pop("changes", ()), lines, **more)


LOST = Attempt(1, 1, "i", START, START + 20, "lost")


def test_a_lost_attempt_of_an_agent_that_was_there_is_broken() -> None:
    assert leases.only_who_is_gone_loses_tasks(evidence(given(), attempts=(LOST,)))
    outage = fault("postgres-stop", START + 1, START + 19)
    assert leases.only_who_is_gone_loses_tasks(evidence(given(), *outage, attempts=(LOST,)))


@pytest.mark.parametrize(
    "why",
    [
        (line(START + 1, "agent hit", how="killed", name="sdk-0", pid=7),),
        (line(START + 1, "agent hit", how="frozen", name="sdk-0", pid=7),),
        (line(START + 1, "kills itself", task=1, attempt=1, pid=7),),
        fault("reconnect-herd", START + 15, START + 15),
        fault("orchestrator-freeze", START + 1, START + 19),
    ],
)
def test_a_lost_attempt_of_an_agent_that_was_gone_is_not(why: tuple[Line, ...]) -> None:
    assert leases.only_who_is_gone_loses_tasks(evidence(given(), *why, attempts=(LOST,))) == []


def test_a_process_that_lived_through_an_outage_and_had_to_come_again_is_broken() -> None:
    came_again = (given(), given(START + 40, 2, instance="j"))
    outage = fault("postgres-stop", START + 5, START + 35)
    assert leases.who_was_there_keeps_its_instance(evidence(*came_again, *outage))
    assert leases.who_was_there_keeps_its_instance(evidence(given(), given(START + 40, 2), *outage)) == []
    frozen_server = fault("orchestrator-freeze", START + 5, START + 35)
    assert leases.who_was_there_keeps_its_instance(evidence(*came_again, *frozen_server)) == []
    killed = line(START + 6, "agent hit", how="killed", name="sdk-0", pid=7)
    assert leases.who_was_there_keeps_its_instance(evidence(*came_again, *outage, killed)) == []


def frozen(seconds: float, instance_afterwards: str) -> Evidence:
    """An agent that was frozen for so long, and given work long before and long after."""
    hit = line(START + 5, "agent hit", how="frozen", name="sdk-0", pid=7)
    freeze = fault("agent-freeze", START + 5, START + 5 + seconds)
    return evidence(given(), hit, *freeze, given(START + 30 + seconds, 2, instance=instance_afterwards))


def test_who_was_frozen_past_its_lease_and_goes_on_as_it_was_is_broken() -> None:
    assert leases.who_was_silent_too_long_comes_back_as_another(frozen(19, "i"))


def test_who_comes_back_anew_or_was_frozen_for_less_than_its_lease_is_not() -> None:
    assert leases.who_was_silent_too_long_comes_back_as_another(frozen(19, "j")) == []
    assert leases.who_was_silent_too_long_comes_back_as_another(frozen(10, "i")) == []


TIMED_OUT = Attempt(1, 1, "i", START, START + 30, "timed_out", deadline_at=START + 30)


def test_a_claim_that_times_out_undelivered_is_broken_and_a_delivered_one_is_not() -> None:
    elsewhere = given(task=2)
    assert leases.what_was_never_delivered_does_not_run_out_of_time(evidence(elsewhere, attempts=(TIMED_OUT,)))
    delivered = evidence(elsewhere, given(), attempts=(TIMED_OUT,))
    assert leases.what_was_never_delivered_does_not_run_out_of_time(delivered) == []
    hit = line(START + 1, "agent hit", how="frozen", name="sdk-0", pid=7)
    away = evidence(elsewhere, hit, attempts=(TIMED_OUT,))
    assert leases.what_was_never_delivered_does_not_run_out_of_time(away) == []


CANCELLED = Attempt(1, 1, "i", START, START + 1, "cancelled")


def test_an_agent_that_nobody_told_of_a_cancel_is_broken() -> None:
    late = line(START + 60, "seen", task=2, status="completed", attempt=1)
    assert leases.who_works_on_a_cancelled_task_is_told(evidence(given(), late, attempts=(CANCELLED,)))


@pytest.mark.parametrize(
    "why",
    [
        line(START + 2, "told to stop", task=1, instance="i", pid=7),
        line(START + 2, "told", task=1, attempt=1, kind="done", code="lease_lost", status=None, instance="i", pid=7),
        line(START + 2, "agent hit", how="killed", name="sdk-0", pid=7),
    ],
)
def test_an_agent_that_was_told_or_is_gone_is_not(why: Line) -> None:
    late = line(START + 60, "seen", task=2, status="completed", attempt=1)
    assert leases.who_works_on_a_cancelled_task_is_told(evidence(given(), why, late, attempts=(CANCELLED,))) == []


def due(run_at: float, retry_count: int = 0, *changes: Change) -> Evidence:
    """A task that was claimed at START and is due at run_at."""
    task = Task(1, "completed", 1, 3, run_at=run_at, retry_count=retry_count)
    attempt = Attempt(1, 1, "i", START, START + 1, "completed")
    return evidence(attempts=(attempt,), tasks={1: task}, changes=changes)


def test_a_start_before_the_time_of_a_task_is_broken() -> None:
    assert leases.no_task_starts_before_it_is_due(due(START + 2))
    assert leases.no_task_starts_before_it_is_due(due(START)) == []
    assert leases.no_task_starts_before_it_is_due(due(START + 2, 1)) == []
    assert leases.no_task_starts_before_it_is_due(due(START + 2, 0, Change(1, 4, 1, "task.redriven"))) == []
