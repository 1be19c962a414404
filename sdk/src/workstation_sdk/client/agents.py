"""Verbs about agents. An agent is named by its number or its name."""

from collections.abc import Mapping, Sequence
from urllib.parse import quote

import msgspec

from workstation_sdk.client.asking import ask, raise_for
from workstation_sdk.client.envelope import Data, Nothing
from workstation_sdk.client.records import AgentDetail, AgentReasons, AgentRecord, AgentStatistics, Overview
from workstation_sdk.client.steps import Lines, Request, Stream, Talk
from workstation_sdk.errors import NotFound
from workstation_sdk.health import Health

LIFECYCLE_SECONDS = 120.0


class _Agents(msgspec.Struct):
    agents: list[AgentRecord]


class _Agent(msgspec.Struct):
    agent: AgentRecord


class _Lines(msgspec.Struct):
    lines: list[str]


def list_agents(
    *,
    status: str | None = None,
    type: str | None = None,
    capability: str | None = None,
    region: str | None = None,
    health: str | None = None,
) -> Talk[list[AgentRecord]]:
    """Return the agents that fit every given filter."""
    given = {"status": status, "type": type, "capability": capability, "region": region, "health": health}
    query = {name: value for name, value in given.items() if value is not None}
    answer = yield from ask(Request("GET", "/api/agents", query), Data[_Agents])
    return answer.data.agents


def number_of(agent: str | int) -> Talk[str]:
    """Return the number of an agent; raises `NotFound` where none has the name."""
    named = str(agent)
    if named.isdecimal():
        return named
    for known in (yield from list_agents()):
        if known.name == named:
            return known.id
    raise NotFound(f"no agent is named {named!r}: `workstation agents list` shows them", status=404)


def show_agent(agent: str | int) -> Talk[AgentDetail]:
    """Return an agent and its statistics."""
    path = yield from _path(agent)
    return (yield from ask(Request("GET", path), Data[AgentDetail])).data


def register_agent(
    name: str,
    type: str,
    *,
    capabilities: Sequence[str] = (),
    metadata: Mapping[str, object] | None = None,
    run: Mapping[str, object] | None = None,
    container_name: str | None = None,
    region: str | None = None,
    max_concurrency: int | None = None,
) -> Talk[AgentRecord]:
    """Register an agent; without `run` and `container_name` it is one started elsewhere.

    Raises `Conflict` for a name that is taken.
    """
    body: dict[str, object] = {"name": name, "type": type, "capabilities": list(capabilities)}
    body |= _given(
        metadata=metadata,
        run=run,
        container_name=container_name,
        region=region,
        max_concurrency=max_concurrency,
    )
    request = Request("POST", "/api/agents", body=msgspec.json.encode(body), repeatable=False)
    return (yield from ask(request, Data[_Agent])).data.agent


def update_agent(agent: str | int, changes: Mapping[str, object]) -> Talk[AgentRecord]:
    """Change the given fields of an agent and return it."""
    path = yield from _path(agent)
    request = Request("PATCH", path, body=msgspec.json.encode(dict(changes)))
    return (yield from ask(request, Data[_Agent])).data.agent


def remove_agent(agent: str | int) -> Talk[None]:
    """Remove a stopped agent; raises `Conflict` for any other or one with open tasks."""
    path = yield from _path(agent)
    yield from ask(Request("DELETE", path), Nothing)


def start_agent(agent: str | int, *, wait: bool = True) -> Talk[str]:
    """Start an agent; returns the server's message once it runs, or at once without `wait`.

    Raises `RuntimeFailed` with the runtime's reason where it does not come up.
    """
    return (yield from _lifecycle(agent, "start", wait=wait))


def stop_agent(agent: str | int, *, force: bool = False, wait: bool = True) -> Talk[str]:
    """Stop an agent, drained first unless `force`; returns the server's message once it is gone."""
    return (yield from _lifecycle(agent, "stop", wait=wait, body={"force": True} if force else None))


def restart_agent(agent: str | int, *, wait: bool = True) -> Talk[str]:
    """Restart an agent; returns the server's message once it runs again."""
    return (yield from _lifecycle(agent, "restart", wait=wait))


def report_health(agent: str | int, health: Health) -> Talk[None]:
    """Report an agent's health in its place."""
    path = yield from _path(agent)
    body = {"healthStatus": health.status} | _given(metadata=health.metadata)
    yield from ask(Request("POST", f"{path}/health", body=msgspec.json.encode(body)), Nothing)


def agent_statistics(agent: str | int) -> Talk[AgentStatistics]:
    """Return what an agent's tasks came to."""
    path = yield from _path(agent)
    return (yield from ask(Request("GET", f"{path}/statistics"), Data[AgentStatistics])).data


def agent_logs(agent: str | int, *, lines: int = 100) -> Talk[list[str]]:
    """Return the last lines an agent wrote, oldest first."""
    path = yield from _path(agent)
    return (yield from ask(Request("GET", f"{path}/logs", {"lines": str(lines)}), Data[_Lines])).data.lines


def follow_agent_logs(agent: str | int, *, lines: int = 100) -> Stream[str]:
    """Yield the last lines an agent wrote, then each new one, until the server ends it."""
    path = yield from _path(agent)
    answer = yield Lines(Request("GET", f"{path}/logs", {"lines": str(lines), "follow": "true"}))
    assert answer is not None
    raise_for(answer)


def explain_agent(agent: str | int) -> Talk[AgentReasons]:
    """Return why an agent is in its state: the last decisions, and the next try."""
    path = yield from _path(agent)
    return (yield from ask(Request("GET", f"{path}/why"), Data[AgentReasons])).data


def system_overview() -> Talk[Overview]:
    """Return the whole system in numbers."""
    return (yield from ask(Request("GET", "/api/agents/system/overview"), Data[Overview])).data


def _path(agent: str | int) -> Talk[str]:
    number = yield from number_of(agent)
    return f"/api/agents/{quote(number, safe='')}"


def _lifecycle(agent: str | int, verb: str, *, wait: bool, body: Mapping[str, object] | None = None) -> Talk[str]:
    path = yield from _path(agent)
    request = Request(
        "POST",
        f"{path}/{verb}",
        {} if wait else {"wait": "0"},
        None if body is None else msgspec.json.encode(body),
        timeout=LIFECYCLE_SECONDS,
        repeatable=verb != "restart",
    )
    return (yield from ask(request, Nothing)).message


def _given(**fields: object) -> dict[str, object]:
    return {name: value for name, value in fields.items() if value is not None}
