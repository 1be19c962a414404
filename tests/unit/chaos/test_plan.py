"""A plan is made from its seed alone."""

from __future__ import annotations

import pytest
from tests.chaos.faults import FAULTS, Kind
from tests.chaos.plan import LOADS, make_plan


def test_the_same_seed_gives_the_same_plan() -> None:
    assert make_plan(7, 60, 2) == make_plan(7, 60, 2)
    assert make_plan(7, 60, 2).as_json() == make_plan(7, 60, 2).as_json()


def test_another_seed_gives_another_plan() -> None:
    assert make_plan(7, 60, 1).as_json() != make_plan(8, 60, 1).as_json()


def test_twenty_seeds_bring_every_fault() -> None:
    names = {fault.name for seed in range(1, 21) for fault in make_plan(seed, 85, 1 + seed % 2).faults}
    assert names == set(FAULTS)


def test_a_single_orchestrator_gets_no_fault_that_needs_two() -> None:
    for seed in range(20):
        assert all(FAULTS[fault.name].replicas == 1 for fault in make_plan(seed, 85, 1).faults)


@pytest.mark.parametrize("seed", range(5))
def test_faults_of_one_kind_do_not_overlap_and_end_before_the_load(seed: int) -> None:
    plan = make_plan(seed, 85, 2)
    for kind in Kind:
        ends = 0.0
        for fault in plan.faults:
            if FAULTS[fault.name].kind is kind:
                assert fault.at >= ends
                ends = fault.at + fault.seconds
        assert ends <= plan.seconds


def test_chosen_faults_come_in_turn() -> None:
    plan = make_plan(1, 60, 1, faults=["orchestrator-kill", "backend-kill"])
    assert [fault.name for fault in plan.faults][:4] == ["orchestrator-kill", "backend-kill"] * 2


def test_no_faults_can_be_chosen() -> None:
    assert make_plan(1, 60, 1, faults=[]).faults == ()


@pytest.mark.parametrize("load", LOADS)
def test_keys_are_unique_and_requests_in_order(load: str) -> None:
    plan = make_plan(3, 30, 1, load)
    assert len({submission.key for submission in plan.submissions}) == len(plan.submissions) > 30
    assert sorted(submission.at for submission in plan.submissions) == [s.at for s in plan.submissions]
