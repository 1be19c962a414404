"""What becomes of a task when an attempt ends: the whole table, and the bounds of the backoff."""

from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workstation.domain.settle import BACKOFF_CAP, FREE_RELEASES, MAX_LOSSES, Held, backoff, settle
from workstation.domain.tasks import FINAL, MOVES, OutcomeKind, Report, TaskError, TaskStatus

FRESH = Held(retry_count=0, max_retries=3, lost_count=0, release_count=0)
NOW = timedelta()


def report(kind: OutcomeKind, error: TaskError | None = None, *, charged: bool = True) -> Report:
    return Report(1, 1, uuid4(), kind, error=error, charged=charged)


@pytest.mark.parametrize("kind", [OutcomeKind.COMPLETED, OutcomeKind.CANCELLED])
def test_what_ended_well_or_was_cancelled_keeps_its_counters(kind: OutcomeKind) -> None:
    held = Held(2, 3, 1, 4)
    settled = settle(held, report(kind), 0.5)
    assert (settled.status.value, settled.retry_count, settled.lost_count, settled.release_count) == (
        kind.value,
        2,
        1,
        4,
    )
    assert settled.error is None and not settled.dead_letter


@pytest.mark.parametrize("kind", [OutcomeKind.FAILED, OutcomeKind.TIMED_OUT])
@pytest.mark.parametrize(("retry_count", "most"), [(0, 2.0**0), (1, 2.0), (2, 4.0)])
def test_a_failure_with_retries_left_waits_for_its_backoff(kind: OutcomeKind, retry_count: int, most: float) -> None:
    settled = settle(replace(FRESH, retry_count=retry_count), report(kind, TaskError("no")), 0.5)
    assert settled.status is TaskStatus.PENDING
    assert settled.retry_count == retry_count + 1
    assert settled.delay == timedelta(seconds=most / 2)
    assert settled.error == TaskError("no") and not settled.dead_letter


def test_three_retries_mean_four_tries() -> None:
    held, tries = FRESH, 0
    while True:
        tries += 1
        settled = settle(held, report(OutcomeKind.FAILED, TaskError("no")), 0.0)
        if settled.status is TaskStatus.FAILED:
            break
        held = replace(held, retry_count=settled.retry_count)
    assert tries == 4 and settled.dead_letter and settled.retry_count == 3


def test_no_retries_at_all_means_one_try() -> None:
    settled = settle(replace(FRESH, max_retries=0), report(OutcomeKind.FAILED, TaskError("no")), 0.0)
    assert settled.status is TaskStatus.FAILED and settled.dead_letter and settled.delay == NOW


def test_an_error_that_is_not_retryable_ends_the_task_at_once() -> None:
    error = TaskError("never", retryable=False)
    settled = settle(FRESH, report(OutcomeKind.FAILED, error), 0.5)
    assert settled.status is TaskStatus.FAILED and settled.dead_letter
    assert settled.error == error and settled.retry_count == 0


@pytest.mark.parametrize("after", [timedelta(), timedelta(minutes=7)])
def test_the_wait_an_agent_asks_for_wins_over_the_backoff(after: timedelta) -> None:
    settled = settle(FRESH, report(OutcomeKind.FAILED, TaskError("busy", retry_after=after)), 0.99)
    assert settled.delay == after


def test_a_failure_without_a_reason_gets_one() -> None:
    settled = settle(FRESH, report(OutcomeKind.FAILED), 0.0)
    assert settled.error is not None and settled.error.message


def test_a_release_charges_nothing_and_is_free_ten_times() -> None:
    for before in range(FREE_RELEASES):
        settled = settle(replace(FRESH, release_count=before), report(OutcomeKind.RELEASED), 0.99)
        assert settled.status is TaskStatus.PENDING
        assert (settled.delay, settled.retry_count, settled.release_count) == (NOW, 0, before + 1)


@pytest.mark.parametrize(("before", "most"), [(10, 2), (11, 4), (12, 8), (60, 300)])
def test_more_than_ten_releases_back_off(before: int, most: int) -> None:
    settled = settle(replace(FRESH, release_count=before), report(OutcomeKind.RELEASED), 0.5)
    assert settled.delay == timedelta(seconds=most / 2) and settled.retry_count == 0


def test_losses_run_again_at_once_until_the_third() -> None:
    held = FRESH
    for losses in range(1, MAX_LOSSES):
        settled = settle(held, report(OutcomeKind.LOST), 0.9)
        assert settled.status is TaskStatus.PENDING
        assert (settled.delay, settled.retry_count, settled.lost_count) == (NOW, 0, losses)
        held = replace(held, lost_count=settled.lost_count)
    settled = settle(held, report(OutcomeKind.LOST), 0.9)
    assert settled.status is TaskStatus.FAILED and settled.dead_letter
    assert settled.error is not None and settled.error.type == "poison" and not settled.error.retryable


def test_a_loss_that_is_not_charged_never_poisons() -> None:
    held = replace(FRESH, lost_count=MAX_LOSSES - 1)
    settled = settle(held, report(OutcomeKind.LOST, charged=False), 0.9)
    assert settled.status is TaskStatus.PENDING and settled.lost_count == MAX_LOSSES - 1


@given(retry=st.integers(0, 10**6), jitter=st.floats(0, 1, exclude_max=True))
def test_the_backoff_is_full_jitter_below_its_ceiling(retry: int, jitter: float) -> None:
    ceiling = min(timedelta(seconds=2 ** min(retry, 20)), BACKOFF_CAP)
    assert timedelta() <= backoff(retry, jitter) <= ceiling
    assert backoff(retry, 0.0) == timedelta()
    assert backoff(retry, 0.5) == ceiling / 2


HELD = st.builds(
    Held,
    retry_count=st.integers(0, 100),
    max_retries=st.integers(0, 100),
    lost_count=st.integers(0, 5),
    release_count=st.integers(0, 50),
)


@given(held=HELD, kind=st.sampled_from(OutcomeKind), retryable=st.booleans(), charged=st.booleans())
def test_every_settlement_is_a_legal_move_and_holds_together(
    held: Held, kind: OutcomeKind, retryable: bool, charged: bool
) -> None:
    settled = settle(held, report(kind, TaskError("x", retryable=retryable), charged=charged), 0.5)
    assert settled.status in MOVES[TaskStatus.RUNNING]
    assert settled.dead_letter == (settled.status is TaskStatus.FAILED)
    assert settled.retry_count <= max(held.retry_count, held.max_retries)
    assert settled.retry_count >= held.retry_count and settled.lost_count >= held.lost_count
    if settled.status in FINAL:
        assert settled.delay == timedelta()
    if kind in (OutcomeKind.RELEASED, OutcomeKind.LOST):
        assert settled.retry_count == held.retry_count


def test_final_states_are_left_by_redriving_a_failed_task_alone() -> None:
    leaving = {state: MOVES[state] for state in FINAL if MOVES[state]}
    assert leaving == {TaskStatus.FAILED: frozenset({TaskStatus.PENDING})}
    assert set(MOVES) == set(TaskStatus)
