"""The plan of a run, made up front from its seed: what clients send when, and what is broken when.

The same seed, length and choices give the same plan. What comes of it depends on the machine.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tests.chaos.faults import FAULTS, Kind

FIRST_FAULT_AFTER = 3.0
CALM_AT_THE_END = 2.0


@dataclass(frozen=True)
class PlannedTask:
    """A task: for whom, what its agent does with it, and for how many attempts it misbehaves."""

    to: str
    behaviour: str
    seconds: float
    until: int
    priority: int
    max_retries: int
    timeout_ms: int
    due_in: float | None
    padding: int


@dataclass(frozen=True)
class Submission:
    """One request, sent until it is acknowledged. copies: how many send it at once, under the same key."""

    at: float
    key: str
    tasks: tuple[PlannedTask, ...]
    copies: int
    conflicting: bool
    cancel_after: float | None
    redrive: bool
    waits: float | None


@dataclass(frozen=True)
class PlannedFault:
    """What is broken at which second of the run, and for how long. target: chooses among what there is."""

    at: float
    name: str
    seconds: float
    target: int


@dataclass(frozen=True)
class Plan:
    """Everything of a run that is decided beforehand."""

    seed: int
    seconds: float
    replicas: int
    load: str
    submissions: tuple[Submission, ...]
    faults: tuple[PlannedFault, ...]

    def as_json(self) -> str:
        """The plan as text, one submission or fault a line."""
        head = {"seed": self.seed, "seconds": self.seconds, "replicas": self.replicas, "load": self.load}
        lines = [head, *map(asdict, self.faults), *map(asdict, self.submissions)]
        return "\n".join(json.dumps(line) for line in lines)


@dataclass(frozen=True)
class Load:
    """How often clients submit, and what: shares of behaviours by whom the task is for."""

    per_second: float
    shares: dict[tuple[str, str], int]
    lasting: tuple[tuple[float, int], ...] = ((0.01, 80), (1.0, 20))
    batches: float = 0.08
    copies: float = 0.1
    cancels: float = 0.08
    redrives: float = 0.5
    waits: float = 0.1
    delayed: float = 0.1


_MIXED = {
    ("sdk", "work"): 40,
    ("pull", "work"): 16,
    ("supervised", "work"): 8,
    ("any", "work"): 16,
    ("sdk", "fail"): 4,
    ("any", "fail"): 2,
    ("pull", "fail"): 2,
    ("sdk", "hopeless"): 2,
    ("pull", "hopeless"): 1,
    ("sdk", "hang"): 2,
    ("sdk", "stubborn"): 1,
    ("pull", "silent"): 1,
    ("pull", "twice"): 3,
    ("pull", "late"): 2,
    ("pull", "forge"): 2,
    ("pull", "release"): 2,
    ("sdk", "kill"): 1,
}
_HOSTILE = {
    ("sdk", "work"): 20,
    ("pull", "work"): 8,
    ("any", "work"): 8,
    ("sdk", "fail"): 6,
    ("pull", "fail"): 6,
    ("pull", "hopeless"): 3,
    ("sdk", "hang"): 6,
    ("sdk", "stubborn"): 6,
    ("pull", "silent"): 3,
    ("pull", "twice"): 10,
    ("pull", "late"): 12,
    ("pull", "forge"): 10,
    ("pull", "release"): 8,
    ("sdk", "kill"): 3,
}
LOADS = {
    "mixed": Load(9, _MIXED),
    "long": Load(9, _MIXED, lasting=((0.01, 77), (1.0, 20), (20.0, 3))),
    "hostile": Load(8, _HOSTILE, cancels=0.2, copies=0.2),
    "steady": Load(15, {("sdk", "work"): 6, ("pull", "work"): 2, ("any", "work"): 2}),
    "backlog": Load(
        7, {("sdk", "work"): 6, ("any", "work"): 4}, lasting=((0.3, 60), (1.0, 40)), cancels=0.2, batches=0.3
    ),
}


def make_plan(
    seed: int, seconds: float, replicas: int, load: str = "mixed", faults: Sequence[str] | None = None
) -> Plan:
    """The plan of a seed. faults: only these, in turn, as often as they fit; none: chosen by the seed."""
    chance = random.Random(f"workstation chaos {seed}")
    submissions = _submissions(chance, seed, seconds, LOADS[load])
    return Plan(seed, seconds, replicas, load, submissions, _faults(chance, seconds, replicas, faults))


def _submissions(chance: random.Random, seed: int, seconds: float, load: Load) -> tuple[Submission, ...]:
    made: list[Submission] = []
    at = 0.0
    while (at := at + chance.expovariate(load.per_second)) < seconds:
        many = chance.random() < load.batches
        tasks = tuple(_task(chance, load, seconds) for _ in range(chance.randint(2, 12) if many else 1))
        made.append(
            Submission(
                round(at, 3),
                f"chaos-{seed}-{len(made)}",
                tasks,
                copies=chance.randint(2, 4) if chance.random() < load.copies else 1,
                conflicting=chance.random() < 0.02,
                cancel_after=round(chance.choice((0.0, 0.05, 0.5)), 3) if chance.random() < load.cancels else None,
                redrive=chance.random() < load.redrives and any(t.behaviour == "hopeless" for t in tasks),
                waits=round(chance.uniform(1, 20), 1) if chance.random() < load.waits else None,
            )
        )
    return tuple(made)


def _task(chance: random.Random, load: Load, seconds: float) -> PlannedTask:
    ((to, behaviour),) = chance.choices(list(load.shares), list(load.shares.values()))
    (lasting,) = chance.choices([s for s, _ in load.lasting], [share for _, share in load.lasting])
    working = behaviour == "work"
    due_in = round(chance.uniform(0.2, 5), 2) if chance.random() < load.delayed else None
    return PlannedTask(
        to,
        behaviour,
        seconds=lasting if working else 0.01,
        # A poison task kills every agent it meets; the others better themselves.
        until=9 if behaviour == "kill" and chance.random() < 0.3 else chance.choice((1, 1, 1, 2)),
        priority=chance.randint(1, 10),
        max_retries=chance.choice((0, 1, 3, 3, 3)) if not working else 3,
        timeout_ms=int(lasting * 1000) + 8000 if working else chance.choice((1000, 1500, 2500)),
        due_in=due_in,
        padding=20_000 if chance.random() < 0.05 else 0,
    )


def _faults(
    chance: random.Random, seconds: float, replicas: int, only: Sequence[str] | None
) -> tuple[PlannedFault, ...]:
    """Two tracks at a time: one breaks the server and its database, the other agents and clients."""
    planned: list[PlannedFault] = []
    for kind in Kind:
        names = [name for name, fault in FAULTS.items() if fault.kind is kind and fault.replicas <= replicas]
        if only is not None:
            names = [name for name in only if name in names]
        at = FIRST_FAULT_AFTER + (chance.uniform(0, 2) if only is None else 0)
        deck: list[str] = []
        misfits = 0
        while names and misfits < 2 * len(names):
            if not deck:
                deck = list(names)
                if only is None:
                    chance.shuffle(deck)
            name = deck.pop(0)
            fault = FAULTS[name]
            lasts = fault.long if seconds >= fault.long_from else fault.short
            if at + lasts + CALM_AT_THE_END > seconds:
                misfits += 1
                continue
            planned.append(PlannedFault(round(at, 2), name, lasts, chance.randrange(1000)))
            at += lasts + fault.calm + (chance.uniform(0, 2) if only is None else 0)
    return tuple(sorted(planned, key=lambda fault: fault.at))


def body_of(task: PlannedTask, agents: dict[str, int], due_at: Any) -> dict[str, Any]:
    """The request body of a planned task."""
    addressed = {"capability": "chaos"} if task.to == "any" else {"agentId": str(agents[task.to])}
    payload: dict[str, Any] = {"seconds": task.seconds, "until": task.until}
    if task.padding:
        payload["padding"] = "x" * task.padding
    body = {
        **addressed,
        "type": task.behaviour,
        "payload": payload,
        "priority": task.priority,
        "max_retries": task.max_retries,
        "timeout_ms": task.timeout_ms,
    }
    return body if due_at is None else {**body, "run_at": due_at}
