"""Checks through the API: the server, its agents, and the tasks that wait."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from workstation.cli.checks import BROKEN, GOOD, LOOK, Finding
from workstation.cli.connection import connect, get
from workstation.cli.local import find_holder
from workstation.cli.tables import Item
from workstation.cli.times import in_words, instant, now
from workstation_sdk.errors import Misconfigured, Unavailable, Unreachable, WorkstationError

if TYPE_CHECKING:
    from workstation_sdk import Client

LONG: Final = timedelta(minutes=1)
PAGE: Final = 1000
# What the server says of an agent that is started elsewhere and whose last instance has gone.
GONE: Final = "no instance is connected"


def server() -> Iterator[Finding]:
    """Whether the server answers and is ready; if so, its agents and tasks too."""
    try:
        with connect() as client:
            client.call("GET", "/ready", tries=1)
            yield Finding(GOOD, "server", "It answers and takes work.")
            yield from _agents(client)
            yield from _tasks(client)
    except Misconfigured as error:
        nobody = find_holder() is None
        yield Finding(BROKEN, "server", "None runs here: `workstation up` starts it." if nobody else error.message)
    except Unreachable as error:
        yield Finding(BROKEN, "server", f"{error.message} `workstation up` starts it.")
    except Unavailable as error:
        yield Finding(BROKEN, "server", error.message)
    except WorkstationError as error:
        yield Finding(BROKEN, "server", f"It refuses to tell: {error.message}")


def _agents(client: Client) -> Iterator[Finding]:
    agents = get(client, "/api/agents", tries=1)["agents"]
    troubled = [finding for agent in agents for finding in _trouble(agent)]
    running = sum(agent["status"] == "running" for agent in agents)
    if not troubled:
        yield Finding(GOOD, "agents", f"{running} of {len(agents)} run, none has a problem.")
    yield from troubled


def _trouble(agent: Item) -> Iterator[Finding]:
    name, status, health = agent["name"], agent["status"], agent["healthStatus"]
    reason = agent.get("status_reason") or (agent.get("health_metadata") or {}).get("reason") or "no reason given"
    if agent["desired_status"] == "running" and status == "stopped" and agent["runtime"] == "external":
        yield _absent(name, reason)
    elif agent["desired_status"] == "running" and status in ("stopped", "error"):
        yield Finding(BROKEN, "agents", f"{name} is {status} ({reason}): workstation agents logs {name}")
    elif status == "running" and health == "unhealthy":
        yield Finding(BROKEN, "agents", f"{name} is unhealthy ({reason}): workstation agents show {name}")
    elif status == "running" and health == "degraded":
        yield Finding(LOOK, "agents", f"{name} is degraded ({reason}): workstation agents show {name}")


def _absent(name: str, reason: str) -> Finding:
    """An agent that somebody else starts: one that was here is missed, one that has not come yet is awaited."""
    if reason == GONE:
        return Finding(BROKEN, "agents", f"{name} is gone ({reason}): start its process again.")
    return Finding(LOOK, "agents", f"{name} has not connected yet: start its process.")


def _tasks(client: Client) -> Iterator[Finding]:
    """The task that has been due for longest, of the newest thousand that wait."""
    query = {"status": "pending", "limit": PAGE}
    pending = get(client, "/api/agents/tasks", query, tries=1)["tasks"]
    due = [(at, task) for task in pending if (at := instant(task.get("run_at"))) is not None and at <= now()]
    if not due:
        yield Finding(GOOD, "tasks", "None waits.")
        return
    since, oldest = min(due, key=lambda pair: pair[0])
    if now() - since < LONG:
        yield Finding(GOOD, "tasks", f"{len(due)} wait, the oldest for {in_words(now() - since)}.")
        return
    why = get(client, f"/api/agents/tasks/{oldest['id']}/explain", tries=1)["summary"]
    yield Finding(LOOK, "tasks", f"{len(due)} wait. {why}")
