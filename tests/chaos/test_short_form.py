"""The short form of the fault suite: one seed with one orchestrator, one with two."""

from __future__ import annotations

import warnings
from collections import Counter

import pytest
from tests.chaos.plan import make_plan
from tests.chaos.report import summary
from tests.chaos.run import Choices, run
from tests.support.live_server import ROOT

SECONDS = 38.0
ONE = [
    "orchestrator-kill",
    "postgres-full-disk",
    "database-black-hole",
    "agent-kill",
    "slow-consumer",
    "reconnect-herd",
]
TWO = ["replica-freeze", "backend-kill", "replica-down", "agent-freeze", "reconnect-herd"]


@pytest.mark.faults
@pytest.mark.parametrize(("seed", "replicas", "faults"), [(1, 1, ONE), (2, 2, TWO)])
async def test_every_promise_holds_under_faults(seed: int, replicas: int, faults: list[str]) -> None:
    plan = make_plan(seed, SECONDS, replicas, faults=faults)
    chosen = f"--seed {seed} --seconds {SECONDS:.0f} --replicas {replicas} --faults {','.join(faults)}"
    print(f"again: python -m tests.chaos {chosen} --keep /tmp/faults")
    result = await run(plan, Choices(ROOT))
    for line in result.evidence.of("fault skipped"):
        warnings.warn(f"{line['name']} was SKIPPED: {line['why']}", stacklevel=1)
    assert result.holds, summary(result)
    states = Counter(task.status for task in result.evidence.tasks.values())
    assert states["completed"] > 100 and states["failed"] and states["cancelled"], states
    assert {fault.name for fault in plan.faults} == set(faults), "not every fault found its place"
