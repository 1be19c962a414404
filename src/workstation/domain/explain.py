"""Why a task is where it is: gates asked one after the other, and one sentence that says what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from workstation.domain.words import in_words


@dataclass(frozen=True, slots=True)
class TaskFacts:
    """What the database says of the task itself. due_for is negative while it is not due."""

    task_id: int
    status: str
    type: str
    agent_id: int | None
    capability: str | None
    region: str | None
    attempt: int
    retry_count: int
    max_retries: int
    lost_count: int
    due_for: timedelta
    age: timedelta
    ahead: int
    last_error: str | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """An agent that could take the task, and the gates as the claim would find them."""

    agent_id: int
    name: str
    status: str
    status_reason: str | None
    agent_gate: str | None
    task_gate: str | None
    declares_type: bool
    instances: int
    in_region: int
    free_slots: int
    slots: int
    instances_with_suspect: int


@dataclass(frozen=True, slots=True)
class Gate:
    """One gate: its name, whether it is open, and one sentence about it. agent is set where it is that agent's."""

    gate: str
    open: bool
    message: str
    agent: str | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """The sentence for a person, the gate that holds (None when nothing does), and every gate that was asked."""

    task_id: int
    status: str
    summary: str
    held_by: str | None
    gates: tuple[Gate, ...]


def explain(task: TaskFacts, candidates: Sequence[Candidate]) -> Explanation:
    """Ask every gate in the order in which the claim meets them."""
    if task.status != "pending":
        return Explanation(task.task_id, task.status, _settled_sentence(task), None, ())
    gates = [_due(task), *_candidates(task, candidates)]
    for candidate in candidates:
        gates.extend(_agent_gates(task, candidate))
    held_by, why = _verdict(task, candidates, gates)
    summary = f"{task.task_id} has been pending for {in_words(task.age)}: {why}"
    return Explanation(task.task_id, task.status, summary, held_by, tuple(gates))


def _due(task: TaskFacts) -> Gate:
    if task.due_for >= timedelta():
        return Gate("due", True, f"It has been due for {in_words(task.due_for)}.")
    after = f" after {task.last_error!r}" if task.retry_count and task.last_error else ""
    retry = f" (retry {task.retry_count} of {task.max_retries}{after})" if task.retry_count else ""
    return Gate("not_due", False, f"It is due in {in_words(-task.due_for)}{retry}.")


def _candidates(task: TaskFacts, candidates: Sequence[Candidate]) -> list[Gate]:
    if candidates:
        return []
    if task.capability is not None:
        return [Gate("no_agent", False, f'No agent has capability "{task.capability}": register one that has it.')]
    return [Gate("no_agent", False, f"Agent {task.agent_id} does not exist any more: cancel the task.")]


_AGENT_WORDS = {
    "agent_removed": "was removed",
    "agent_stopped": "is stopped: workstation agents start {name}",
    "agent_not_running": "is {status}{reason}",
    "agent_unhealthy": "is unhealthy: workstation agents show {name}",
    "agent_degraded": "is degraded and takes such tasks only 5 s after they are due",
}


def _agent_gates(task: TaskFacts, agent: Candidate) -> list[Gate]:
    gates = []
    reason = f" ({agent.status_reason})" if agent.status_reason else ""
    for gate in (agent.agent_gate, agent.task_gate if agent.task_gate == "agent_degraded" else None):
        if gate is not None:
            words = _AGENT_WORDS[gate].format(name=agent.name, status=agent.status, reason=reason)
            gates.append(Gate(gate, False, f"{agent.name} {words}.", agent.name))
    if not gates:
        gates.append(_instance_gate(task, agent))
    return gates


def _instance_gate(task: TaskFacts, agent: Candidate) -> Gate:
    if not agent.declares_type and task.capability is not None:
        return Gate("unknown_type", False, f'{agent.name} does not do tasks of type "{task.type}".', agent.name)
    if agent.instances == 0:
        return Gate("no_instance", False, f"{agent.name} has no connected instance.", agent.name)
    if agent.in_region == 0:
        return Gate("no_region", False, f"{agent.name} has no instance in region {task.region}.", agent.name)
    if agent.free_slots <= 0:
        return Gate("no_free_slot", False, f"{agent.name} works on {agent.slots} tasks, all it may.", agent.name)
    if task.lost_count and agent.instances_with_suspect >= agent.in_region:
        return Gate(
            "suspect_running",
            False,
            f"{agent.name} works on another task that was lost before, and takes one such at a time.",
            agent.name,
        )
    return Gate("agent_open", True, f"{agent.name} can take it, with {agent.free_slots} free slots.", agent.name)


def _verdict(task: TaskFacts, candidates: Sequence[Candidate], gates: Sequence[Gate]) -> tuple[str | None, str]:
    first_closed = next((gate for gate in gates if not gate.open), None)
    if first_closed is not None and first_closed.agent is None:
        return first_closed.gate, _lower(first_closed.message)
    if any(gate.gate == "agent_open" for gate in gates):
        place = f"{task.ahead}{'+' if task.ahead >= 1000 else ''} tasks are ahead of it" if task.ahead else "it is next"
        return None, f"nothing holds it back; {place}."
    if task.capability is not None and len(candidates) > 1:
        return _nobody(task, candidates, gates)
    assert first_closed is not None
    return first_closed.gate, first_closed.message


def _nobody(task: TaskFacts, candidates: Sequence[Candidate], gates: Sequence[Gate]) -> tuple[str, str]:
    stopped = [agent.name for agent in candidates if agent.agent_gate == "agent_stopped"]
    closed = [gate for gate in gates if not gate.open]
    if len(stopped) == len(candidates):
        return "agent_stopped", (
            f'no running agent has capability "{task.capability}" '
            f"({len(stopped)} stopped: workstation agents start {' '.join(stopped)})"
        )
    return closed[0].gate, " ".join(gate.message for gate in closed)


def _settled_sentence(task: TaskFacts) -> str:
    if task.status == "running":
        return f"{task.task_id} is running, attempt {task.attempt}."
    because = f": {task.last_error}" if task.status == "failed" and task.last_error else "."
    return f"{task.task_id} is {task.status}{because}"


def _lower(sentence: str) -> str:
    return sentence[0].lower() + sentence[1:]
