"""The invariants: each a function that says, in sentences, where the evidence breaks it; nothing where it holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tests.chaos.evidence import Evidence
from tests.chaos.invariants import attempts, leases, liveness, promises, recovery, states

Invariant = Callable[[Evidence], list[str]]

INVARIANTS: tuple[Invariant, ...] = (
    promises.nothing_acknowledged_is_lost,
    promises.every_task_reaches_a_final_state,
    promises.what_was_seen_as_final_stays_so,
    promises.one_key_is_one_task,
    promises.what_an_agent_was_told_of_its_report_stands,
    promises.no_task_has_two_accepted_outcomes,
    promises.a_result_is_what_the_winning_attempt_reported,
    promises.agents_are_given_only_what_they_hold,
    promises.a_cancelled_pending_task_never_starts,
    promises.a_client_is_never_told_of_a_fault_of_ours,
    states.only_legal_transitions_happen,
    states.every_change_has_its_event,
    states.who_follows_events_misses_none,
    states.counts_equal_rows,
    attempts.attempts_never_overlap,
    attempts.an_attempt_is_given_once,
    attempts.tries_are_bounded_and_counted,
    attempts.losses_are_bounded_and_counted,
    attempts.an_outage_is_not_charged,
    attempts.higher_priority_goes_first,
    leases.only_who_is_gone_loses_tasks,
    leases.who_was_there_keeps_its_instance,
    leases.who_was_silent_too_long_comes_back_as_another,
    leases.what_was_never_delivered_does_not_run_out_of_time,
    leases.who_works_on_a_cancelled_task_is_told,
    leases.no_task_starts_before_it_is_due,
    liveness.a_task_that_is_due_starts_while_its_agent_is_idle,
    recovery.nothing_runs_without_a_lease,
    recovery.tasks_of_an_agent_that_is_gone_are_claimable_soon,
    recovery.tasks_flow_again_after_an_outage,
    recovery.tasks_flow_on_while_one_replica_is_away,
    recovery.without_its_database_it_refuses_in_time,
    recovery.memory_and_connections_return,
    recovery.a_stop_is_graceful,
    recovery.no_process_is_left_behind,
)


def title(invariant: Invariant) -> str:
    """Its name as a sentence."""
    return invariant.__name__.replace("_", " ")


def check(evidence: Evidence) -> Mapping[str, list[str]]:
    """What breaks each invariant, by its title."""
    return {title(invariant): invariant(evidence) for invariant in INVARIANTS}
