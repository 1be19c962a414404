"""Sentences that tell why a task is where it is."""

from dataclasses import replace
from datetime import timedelta

import pytest

from workstation.domain.explain import Candidate, TaskFacts, explain

TASK = TaskFacts(
    task_id=42, status="pending", type="scrape", agent_id=1, capability=None, region=None, attempt=0, retry_count=0,
    max_retries=3, lost_count=0, due_for=timedelta(seconds=90), age=timedelta(seconds=252), ahead=0,
)  # fmt: skip
AGENT = Candidate(
    agent_id=1, name="browser", status="running", status_reason=None, agent_gate=None, task_gate=None,
    declares_type=True, instances=1, in_region=1, free_slots=3, slots=10, instances_with_suspect=0,
)  # fmt: skip
BY_CAPABILITY = replace(TASK, agent_id=None, capability="ocr")


def test_a_task_that_is_next_says_so() -> None:
    explained = explain(TASK, [AGENT])
    assert explained.held_by is None
    assert explained.summary == "42 has been pending for 4m12s: nothing holds it back; it is next."
    assert [gate.gate for gate in explained.gates] == ["due", "agent_open"]


@pytest.mark.parametrize(("ahead", "words"), [(3, "3 tasks are ahead"), (1000, "1000+ tasks are ahead")])
def test_those_ahead_are_counted(ahead: int, words: str) -> None:
    assert words in explain(replace(TASK, ahead=ahead), [AGENT]).summary


def test_a_task_that_is_not_due_says_when_and_after_which_retry() -> None:
    later = replace(TASK, due_for=timedelta(seconds=-12), retry_count=2, last_error="boom")
    explained = explain(later, [AGENT])
    assert explained.held_by == "not_due"
    assert explained.summary.endswith("it is due in 12s (retry 2 of 3 after 'boom').")


@pytest.mark.parametrize(
    ("change", "gate", "words"),
    [
        ({"agent_gate": "agent_stopped"}, "agent_stopped", "browser is stopped: workstation agents start browser."),
        (
            {"agent_gate": "agent_not_running", "status": "error", "status_reason": "it exited with code 1"},
            "agent_not_running",
            "browser is error (it exited with code 1).",
        ),
        ({"agent_gate": "agent_unhealthy"}, "agent_unhealthy", "browser is unhealthy"),
        ({"agent_gate": "agent_removed"}, "agent_removed", "browser was removed."),
        ({"instances": 0, "in_region": 0}, "no_instance", "browser has no connected instance."),
        ({"in_region": 0}, "no_region", "browser has no instance in region"),
        ({"free_slots": 0}, "no_free_slot", "browser works on 10 tasks, all it may."),
        ({"free_slots": -1}, "no_free_slot", "browser works on 10 tasks"),
    ],
)
def test_each_gate_has_its_sentence(change: dict[str, object], gate: str, words: str) -> None:
    explained = explain(TASK, [replace(AGENT, **change)])
    assert explained.held_by == gate
    assert words in explained.summary


def test_a_task_once_lost_waits_for_another_such_to_end() -> None:
    explained = explain(replace(TASK, lost_count=1), [replace(AGENT, instances_with_suspect=1)])
    assert explained.held_by == "suspect_running"
    assert explain(TASK, [replace(AGENT, instances_with_suspect=1)]).held_by is None


def test_degraded_holds_capability_tasks_for_a_moment() -> None:
    explained = explain(BY_CAPABILITY, [replace(AGENT, task_gate="agent_degraded")])
    assert explained.held_by == "agent_degraded"
    assert "takes such tasks only 5 s after they are due" in explained.summary


def test_a_degraded_agent_does_not_hide_a_healthy_one() -> None:
    explained = explain(BY_CAPABILITY, [replace(AGENT, task_gate="agent_degraded"), replace(AGENT, name="other")])
    assert explained.held_by is None


def test_a_type_nobody_does_is_told_for_capability_tasks_only() -> None:
    picky = replace(AGENT, declares_type=False)
    assert explain(BY_CAPABILITY, [picky]).held_by == "unknown_type"
    assert explain(TASK, [picky]).held_by is None


def test_nobody_with_the_capability() -> None:
    explained = explain(BY_CAPABILITY, [])
    assert explained.held_by == "no_agent"
    assert 'no agent has capability "ocr"' in explained.summary


def test_an_agent_that_is_gone() -> None:
    assert "Agent 1 does not exist any more" in explain(TASK, []).gates[-1].message


def test_all_stopped_names_how_to_start_them() -> None:
    stopped = [replace(AGENT, name=name, agent_gate="agent_stopped") for name in ("a", "b")]
    explained = explain(BY_CAPABILITY, stopped)
    assert explained.held_by == "agent_stopped"
    assert "(2 stopped: workstation agents start a b)" in explained.summary


def test_one_open_agent_is_enough() -> None:
    explained = explain(BY_CAPABILITY, [replace(AGENT, agent_gate="agent_stopped"), replace(AGENT, name="b")])
    assert explained.held_by is None


@pytest.mark.parametrize(
    ("facts", "sentence"),
    [
        ({"status": "running", "attempt": 2}, "42 is running, attempt 2."),
        ({"status": "completed", "last_error": "earlier"}, "42 is completed."),
        ({"status": "failed", "last_error": "boom"}, "42 is failed: boom"),
        ({"status": "cancelled"}, "42 is cancelled."),
    ],
)
def test_what_is_not_pending_just_says_where_it_is(facts: dict[str, object], sentence: str) -> None:
    explained = explain(replace(TASK, **facts), [AGENT])
    assert explained.summary == sentence and explained.held_by is None and explained.gates == ()
