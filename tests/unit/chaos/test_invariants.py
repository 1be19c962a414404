"""The checker finds each violation in a history made by hand, and nothing in a clean one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from tests.chaos.evidence import Attempt, Evidence
from tests.chaos.invariants import INVARIANTS, check, title
from tests.unit.chaos.histories import BEGIN, History

LATE = 60.0
"""Long after the start of the orchestrator, so that losses are charged."""


def history() -> History:
    """A clean one with a bit of everything."""
    made = History()
    made.record(0, "orchestrator ready", replica=0, pid=1)
    made.record(0.1, "holds", replica=0, pid=1, mib=100.0, files=40, links=10, when="at the beginning")
    made.completed(1)
    made.completed(2, at=2.0)
    # Tried twice, and completed.
    made.create(3, 1.0)
    made.attempt(3, 1.2, 1.4, "failed")
    made.change(1.4, 3, "retried", 1)
    made.attempt(3, 2.0, 2.5, "completed")
    made.end(3, 2.5, "completed", retry_count=1)
    # Cancelled before it began.
    made.create(4, 1.0)
    made.record(1.5, "changed", task=4, verb="cancel")
    made.end(4, 1.5, "cancelled")
    # Given back unharmed.
    made.create(5, 1.0)
    made.attempt(5, 1.1, 1.2, "released")
    made.change(1.2, 5, "released", 1)
    made.attempt(5, 1.3, 1.6, "completed")
    made.end(5, 1.6, "completed")
    # Failed for good, redriven, completed.
    made.create(6, 1.0, max_retries=0)
    made.attempt(6, 1.1, 1.2, "failed")
    made.change(1.2, 6, "failed", 1)
    made.record(1.5, "changed", task=6, verb="redrive")
    made.change(1.5, 6, "redriven", 1)
    made.attempt(6, 1.6, 1.8, "completed")
    made.end(6, 1.8, "completed")
    # Its agent was killed three times.
    made.create(7, LATE)
    for number in range(3):
        began = LATE + 1 + number * 5
        made.record(began + 1, "agent hit", how="killed", name="sdk-0", pid=200 + number)
        made.attempt(7, began, began + 4, "lost", f"dead-{number}", pid=200 + number)
        if number < 2:
            made.change(began + 4, 7, "lost", number + 1)
    made.end(7, LATE + 15, "failed", lost_count=3, dead_letter=True, error={"type": "poison", "retryable": False})
    # Failed without a retry that could help.
    made.create(8, 3.0)
    made.attempt(8, 3.1, 3.2, "failed")
    made.end(8, 3.2, "failed", error={"type": "TaskFailed", "retryable": False}, dead_letter=True)
    made.record(LATE, "stuck", unleased=[], overdue=[])
    made.record(LATE + 30, "holds", replica=0, pid=1, mib=120.0, files=44, links=12, when="at the end")
    made.record(LATE + 31, "stopped", replica=0, code=0, seconds=1.0)
    made.record(LATE + 20, "heard", events=["900.1", "901.2"])
    made.record(LATE + 20, "written", events=["900.1", "901.2"])
    return made


def outage(made: History, name: str, begin: float, end: float) -> None:
    """A fault in the middle of it, with work before and after."""
    made.record(begin, "fault begins", name=name, seconds=end - begin)
    made.record(end, "fault ends", name=name)


def test_a_clean_history_passes() -> None:
    verdicts = check(history().evidence())
    assert {what: broken for what, broken in verdicts.items() if broken} == {}


Spoil = Callable[[History], None]
SPOILT: dict[str, list[Spoil]] = {}


def spoils(invariant: str) -> Callable[[Spoil], Spoil]:
    """What is done to a clean history, and which invariant must be found broken."""

    def add(spoil: Spoil) -> Spoil:
        SPOILT.setdefault(invariant, []).append(spoil)
        return spoil

    return add


@spoils("nothing acknowledged is lost")
def a_task_disappears(made: History) -> None:
    del made.tasks[2]


@spoils("every task reaches a final state")
def a_task_stays_pending(made: History) -> None:
    made.create(20, 5.0)


@spoils("every task reaches a final state")
def an_attempt_stays_open(made: History) -> None:
    made.attempts[0] = replace(made.attempts[0], outcome=None, ended_at=None)


@spoils("every task reaches a final state")
def a_client_is_never_answered(made: History) -> None:
    made.record(50, "gave up", key="key-99")


@spoils("what was seen as final stays so")
def a_completed_task_is_cancelled_later(made: History) -> None:
    made.record(1.3, "seen", task=4, status="completed", attempt=1)


@spoils("what was seen as final stays so")
def a_cancel_is_forgotten(made: History) -> None:
    made.record(1.2, "changed", task=1, verb="cancel")


@spoils("what was seen as final stays so")
def a_redrive_is_forgotten(made: History) -> None:
    made.record(4.0, "changed", task=8, verb="redrive")


@spoils("one key is one task")
def a_repeated_request_is_another_task(made: History) -> None:
    made.completed(21)
    made.record(2.2, "accepted", key="key-1", tasks=[21], replayed=False)


@spoils("one key is one task")
def two_rows_have_one_key(made: History) -> None:
    made.completed(21)
    made.tasks[21] = replace(made.tasks[21], idempotency_key="key-1")


@spoils("one key is one task")
def another_request_is_accepted_under_a_taken_key(made: History) -> None:
    made.record(2.2, "accepted under a taken key", key="key-1", tasks=[1])


@spoils("what an agent was told of its report stands")
def an_acknowledged_failure_is_not_there(made: History) -> None:
    told = {"task": 5, "attempt": 1, "instance": "i1", "pid": 100}
    made.record(1.2, "told", **told, kind="fail", status="pending", code=None)


@spoils("what an agent was told of its report stands")
def a_refused_result_is_taken(made: History) -> None:
    made.lines = [
        replace(line, about={**line.about, "status": None, "code": "lease_lost"})
        if line.what == "told" and line["task"] == 1
        else line
        for line in made.lines
    ]


@spoils("no task has two accepted outcomes")
def two_instances_are_told_that_they_completed_it(made: History) -> None:
    told = {"task": 3, "attempt": 1, "instance": "i9", "pid": 300}
    made.record(2.6, "told", **told, kind="done", status="completed", code=None)


@spoils("no task has two accepted outcomes")
def two_attempts_are_completed(made: History) -> None:
    made.attempts = [replace(a, outcome="completed") if a.task == 3 else a for a in made.attempts]


@spoils("a result is what the winning attempt reported")
def a_zombie_overwrites_the_result(made: History) -> None:
    made.tasks[3] = replace(made.tasks[3], result={"said": "3-1"})


@spoils("a result is what the winning attempt reported")
def the_second_report_of_one_attempt_wins(made: History) -> None:
    made.record(1.6, "reports", task=1, attempt=1, instance="i1", pid=100, said="another")
    made.tasks[1] = replace(made.tasks[1], result={"said": "another"})


@spoils("agents are given only what they hold")
def a_task_is_given_before_its_claim_is_committed(made: History) -> None:
    made.record(5.0, "given", task=2, attempt=2, instance="i1", pid=100)


@spoils("a cancelled pending task never starts")
def a_cancelled_task_starts(made: History) -> None:
    made.attempt(4, 1.7, 1.9, "lost")


@spoils("a cancelled pending task never starts")
def a_cancelled_task_reaches_an_agent(made: History) -> None:
    made.record(1.7, "given", task=4, attempt=1, instance="i1", pid=100)


@spoils("a client is never told of a fault of ours")
def a_request_is_answered_with_500(made: History) -> None:
    answered = {"method": "POST", "path": "/api/agents/tasks", "waits": False, "seconds": 0.1}
    made.record(2.0, "answered", **answered, status=500, text="internal")


@spoils("a client is never told of a fault of ours")
def a_call_of_an_agent_is_answered_with_500(made: History) -> None:
    made.record(2.0, "refused", path="/api/agents/1/claim", status=500, text="internal", pid=100)


@spoils("only legal transitions happen")
def a_final_task_runs_again(made: History) -> None:
    made.attempt(1, 3.0, 3.2, "lost")


@spoils("only legal transitions happen")
def an_attempt_number_is_skipped(made: History) -> None:
    made.changes = [replace(c, attempt=3) if c.task == 3 and c.attempt == 2 else c for c in made.changes]


@spoils("every change has its event")
def an_event_is_missing(made: History) -> None:
    made.changes = [c for c in made.changes if (c.task, c.version) != (3, 3)]


@spoils("every change has its event")
def an_event_is_told_twice(made: History) -> None:
    made.changes.append(made.changes[0])


@spoils("every change has its event")
def a_row_is_changed_without_an_event(made: History) -> None:
    made.tasks[8] = replace(made.tasks[8], status="completed")


@spoils("every change has its event")
def an_event_tells_of_a_task_that_was_never_made(made: History) -> None:
    made.change(3.0, 77, "created", 0)


@spoils("who follows events misses none")
def an_event_is_not_heard(made: History) -> None:
    made.record(LATE + 21, "written", events=["902.3"])


@spoils("who follows events misses none")
def an_event_is_heard_twice(made: History) -> None:
    made.record(LATE + 21, "heard", events=["901.2"])


@spoils("counts equal rows")
def the_statistics_are_wrong(made: History) -> None:
    shown = {"total_tasks": "8", "completed_tasks": "4", "failed_tasks": "2", "cancelled_tasks": "1"}
    made.record(LATE + 25, "counted", agent=1, name="sdk", statistics=shown)


@spoils("attempts never overlap")
def two_attempts_run_at_once(made: History) -> None:
    made.attempts = [replace(a, ended_at=BEGIN + 5) if (a.task, a.attempt) == (5, 1) else a for a in made.attempts]


@spoils("an attempt is given once")
def one_number_is_given_to_two(made: History) -> None:
    made.record(5.0, "given", task=2, attempt=1, instance="i2", pid=101)


@spoils("an attempt is given once")
def one_number_is_there_twice(made: History) -> None:
    made.attempts.append(Attempt(2, 1, "i2", BEGIN + 7, BEGIN + 8, "lost"))


@spoils("tries are bounded and counted")
def a_task_is_tried_too_often(made: History) -> None:
    made.tasks[3] = replace(made.tasks[3], max_retries=-1)


@spoils("tries are bounded and counted")
def a_release_is_charged(made: History) -> None:
    made.tasks[5] = replace(made.tasks[5], retry_count=1)


@spoils("tries are bounded and counted")
def a_failure_is_not_charged(made: History) -> None:
    made.tasks[3] = replace(made.tasks[3], retry_count=0)


@spoils("tries are bounded and counted")
def a_task_is_given_up_too_early(made: History) -> None:
    made.tasks[8] = replace(made.tasks[8], error={"type": "TaskFailed", "retryable": True})


@spoils("losses are bounded and counted")
def a_loss_is_not_counted(made: History) -> None:
    made.create(22, LATE)
    made.attempt(22, LATE + 0.5, LATE + 3, "lost")
    made.change(LATE + 3, 22, "lost", 1)
    made.attempt(22, LATE + 4, LATE + 5, "completed")
    made.end(22, LATE + 5, "completed", lost_count=0)


@spoils("losses are bounded and counted")
def two_losses_are_poison(made: History) -> None:
    made.tasks[7] = replace(made.tasks[7], lost_count=2)


@spoils("an outage is not charged")
def a_loss_by_an_outage_is_charged(made: History) -> None:
    outage(made, "postgres-stop", 100, 130)
    made.create(22, 90)
    made.attempt(22, 95, 137, "lost")
    made.change(137, 22, "lost", 1)
    made.attempt(22, 138, 139, "completed")
    made.end(22, 139, "completed", lost_count=1)


@spoils("higher priority goes first")
def a_low_priority_goes_first(made: History) -> None:
    made.create(22, 70, priority=9)
    made.create(23, 70, priority=1)
    made.attempt(23, 75, 76, "completed")
    made.end(23, 76, "completed")
    made.attempt(22, 80, 81, "completed")
    made.end(22, 81, "completed")


@spoils("a task that is due starts while its agent is idle")
def a_task_is_not_found(made: History) -> None:
    made.create(22, 80)
    made.attempt(22, 90, 91, "completed")
    made.end(22, 91, "completed")


@spoils("nothing runs without a lease")
def a_task_runs_on_without_a_lease(made: History) -> None:
    for second in range(12):
        made.record(LATE + second, "stuck", unleased=[[9, 1]], overdue=[])


@spoils("nothing runs without a lease")
def a_task_runs_on_past_its_deadline(made: History) -> None:
    for second in range(12):
        made.record(LATE + second, "stuck", unleased=[], overdue=[[9, 1]])


@spoils("tasks of an agent that is gone are claimable soon")
def a_lost_task_waits_too_long(made: History) -> None:
    made.create(22, LATE)
    made.attempt(22, LATE + 1, LATE + 12, "lost", "dead", pid=222)
    made.record(LATE + 2, "agent hit", how="killed", name="sdk-1", pid=222)
    made.change(LATE + 12, 22, "lost", 1)
    made.attempt(22, LATE + 13, LATE + 14, "completed")
    made.end(22, LATE + 14, "completed", lost_count=1)


@spoils("tasks flow again after an outage")
def nothing_is_done_for_long_after_an_outage(made: History) -> None:
    outage(made, "postgres-restart", 100, 101)
    made.completed(22, at=120)


@spoils("tasks flow on while one replica is away")
def nothing_is_done_while_a_replica_is_down(made: History) -> None:
    outage(made, "replica-down", 100, 112)
    made.completed(22, at=99)
    made.completed(23, at=114)


@spoils("without its database it refuses in time")
def a_refusal_comes_late(made: History) -> None:
    outage(made, "postgres-stop", 100, 130)
    answered = {"method": "POST", "path": "/api/agents/tasks", "waits": False, "text": None}
    made.record(112, "answered", **answered, status=503, seconds=9.0)


@spoils("without its database it refuses in time")
def a_task_is_accepted_without_a_database(made: History) -> None:
    outage(made, "postgres-stop", 100, 130)
    answered = {"method": "POST", "path": "/api/agents/tasks", "waits": False, "text": None}
    made.record(112, "answered", **answered, status=201, seconds=0.1)


@spoils("without its database it refuses in time")
def a_client_waits_in_vain(made: History) -> None:
    outage(made, "postgres-stop", 100, 130)
    made.record(112, "no answer", method="POST", path="/api/agents/tasks", seconds=6.0, why="ReadTimeout('')")


@spoils("memory and connections return")
def memory_grows(made: History) -> None:
    made.record(LATE + 32, "holds", replica=0, pid=1, mib=400.0, files=44, links=12, when="at the end")


@spoils("memory and connections return")
def connections_stay_open(made: History) -> None:
    made.record(LATE + 32, "holds", replica=0, pid=1, mib=110.0, files=44, links=60, when="at the end")


@spoils("a stop is graceful")
def it_ends_with_an_error(made: History) -> None:
    made.record(LATE + 33, "stopped", replica=0, code=1, seconds=1.0)


@spoils("a stop is graceful")
def it_takes_too_long_to_stop(made: History) -> None:
    made.record(LATE + 33, "terminated", replica=0, seconds=33.0)


@spoils("no process is left behind")
def a_process_is_left(made: History) -> None:
    made.record(LATE + 34, "left behind", pid=9, command="postgres")


@pytest.mark.parametrize(
    ("invariant", "spoil"),
    [(invariant, spoil) for invariant, all_of_it in SPOILT.items() for spoil in all_of_it],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_each_violation_is_found(invariant: str, spoil: Spoil) -> None:
    made = history()
    spoil(made)
    assert check(made.evidence())[invariant]


def test_every_invariant_has_a_history_that_breaks_it() -> None:
    # Those about leases have tests of their own, in test_lease_invariants.
    here = [invariant for invariant in INVARIANTS if not invariant.__module__.endswith(".leases")]
    assert set(SPOILT) == {title(invariant) for invariant in here}


def test_counts_that_differ_from_the_rows_are_found() -> None:
    evidence = history().evidence(counts={1: {"completed": 1}})
    assert check(evidence)["counts equal rows"]


def test_a_task_may_wait_for_a_busy_agent_or_after_a_fault() -> None:
    made = history()
    a_task_is_not_found(made)
    outage(made, "postgres-restart", 75, 79)
    assert not check(made.evidence())["a task that is due starts while its agent is idle"]


def test_times_are_not_judged_while_the_machine_is_too_busy() -> None:
    made = history()
    nothing_is_done_for_long_after_an_outage(made)
    made.record(110, "starved", seconds=4.0)
    assert not check(made.evidence())["tasks flow again after an outage"]


def test_an_answer_is_not_late_because_the_harness_was() -> None:
    made = history()
    a_refusal_comes_late(made)
    made.record(105, "late", since=104.5, seconds=0.4)
    assert not check(made.evidence())["without its database it refuses in time"]


def test_a_loss_near_an_outage_need_not_be_charged() -> None:
    made = history()
    outage(made, "orchestrator-freeze", LATE - 1, LATE + 2)
    a_loss_is_not_counted(made)
    assert not check(made.evidence())["losses are bounded and counted"]


def test_a_fault_that_was_skipped_excuses_nothing() -> None:
    made = history()
    made.record(100, "fault begins", name="postgres-full-disk", seconds=5)
    made.record(100.1, "fault skipped", name="postgres-full-disk", why="no mount")
    made.record(100.1, "fault ends", name="postgres-full-disk")
    evidence: Evidence = made.evidence()
    assert not evidence.windows
