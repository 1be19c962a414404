"""Whether a task may be queued at all: its type, its payload against the schema of that type, room in the queue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import jsonschema_rs

from workstation.dispatch.roster import AgentView, Roster
from workstation.domain.errors import FieldProblem, PayloadInvalid, QueueFull, Refusal, UnknownType
from workstation.domain.tasks import NewTask

MAX_PENDING: Final = 1_000_000
_RETRY_WHEN_FULL_SECONDS: Final = 5.0
_MAX_PROBLEMS: Final = 10
_MAX_MESSAGE: Final = 300

Schemas = dict[str, jsonschema_rs.Draft202012Validator | None]


class Admission:
    """Asks what the roster knows. An agent it does not know passes: the database has the last word on those."""

    def __init__(self, roster: Roster, max_pending: int = MAX_PENDING) -> None:
        self._roster = roster
        self._max_pending = max_pending
        self._compiled: dict[int, tuple[AgentView, Schemas]] = {}

    async def check(self, task: NewTask, payload: Any, at: str = "") -> None:
        """Raise UnknownType, PayloadInvalid or QueueFull. payload is the task's payload as plain values.

        at is the path of the task in the request. Before a refusal the registry is read again: what an agent declared
        a moment ago counts.
        """
        refusal = self._refusal(task, payload)
        if refusal is not None and not isinstance(refusal, QueueFull):
            await self._roster.refresh()
            refusal = self._refusal(task, payload)
        if refusal is not None:
            refusal.details = tuple(FieldProblem(at + each.field, each.message) for each in refusal.details)
            raise refusal

    def _refusal(self, task: NewTask, payload: Any) -> Refusal | None:
        if task.capability is not None:
            waiting = self._roster.pending(task.capability)
            agents = self._roster.with_capability(task.capability)
            found = self._no_agent_accepts(task.type, payload, agents)
        else:
            waiting = self._roster.pending(task.agent_id or 0)
            agent = self._roster.find(task.agent_id or 0)
            found = None if agent is None else self._not_accepted(agent, task.type, payload)
        if found is None and waiting >= self._max_pending:
            return QueueFull(
                f"{waiting} tasks are pending there, all that fit; try again later.", _RETRY_WHEN_FULL_SECONDS
            )
        return found

    def _not_accepted(self, agent: AgentView, type_: str, payload: Any) -> Refusal | None:
        if agent.task_types is None:
            return None
        if type_ not in agent.task_types:
            known = ", ".join(sorted(agent.task_types))[:_MAX_MESSAGE] or "none"
            return UnknownType(f'Agent {agent.name} does not do tasks of type "{type_}"; it does: {known}.')
        validator = self._schemas(agent)[type_]
        return None if validator is None else _misfit(validator, type_, payload)

    def _no_agent_accepts(self, type_: str, payload: Any, agents: Sequence[AgentView]) -> Refusal | None:
        """The first agent's refusal of the payload, if no agent takes it; a type nobody declares may wait for one."""
        refusals = [self._not_accepted(agent, type_, payload) for agent in agents]
        misfits = [refusal for refusal in refusals if isinstance(refusal, PayloadInvalid)]
        return misfits[0] if misfits and None not in refusals else None

    def _schemas(self, agent: AgentView) -> Schemas:
        compiled = self._compiled.get(agent.id)
        if compiled is None or compiled[0] is not agent:
            types = agent.task_types or {}
            compiled = self._compiled[agent.id] = (agent, {name: _compile(types[name]) for name in types})
        return compiled[1]


def _compile(schema: Any) -> jsonschema_rs.Draft202012Validator | None:
    """A validator, or None where there is no schema to go by. Nothing is ever fetched for it."""
    if schema is None:
        return None
    try:
        return jsonschema_rs.Draft202012Validator(
            schema, retriever=_never, pattern_options=jsonschema_rs.RegexOptions(), mask="the value"
        )
    except ValueError:
        # An agent that declares what is no schema still gets its tasks; it has to look at them itself.
        return None


def _never(uri: str) -> Any:
    raise ValueError(f"{uri[:100]} is not part of the schema")


def _misfit(validator: jsonschema_rs.Draft202012Validator, type_: str, payload: Any) -> PayloadInvalid | None:
    if validator.is_valid(payload):
        return None
    problems = []
    for error in validator.iter_errors(payload):
        field = ".".join(["payload", *map(str, error.instance_path)])
        problems.append(FieldProblem(field[:200], error.message[:_MAX_MESSAGE]))
        if len(problems) == _MAX_PROBLEMS:
            break
    return PayloadInvalid(f'The payload does not fit the schema of task type "{type_}".', tuple(problems))
