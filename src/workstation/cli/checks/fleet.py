"""Checks through the API: the server, its agents, and what it finds in its database."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from workstation.cli.checks import OK, PROBLEM, WARNING, Finding
from workstation.cli.connection import connect, get
from workstation.cli.local import find_holder
from workstation.cli.tables import Item
from workstation.cli.times import in_words, instant, now
from workstation_sdk.errors import Misconfigured, NotAllowed, Unavailable, Unreachable, WorkstationError

if TYPE_CHECKING:
    from workstation_sdk import Client

SKEWED: Final = timedelta(seconds=2)
# What the server says of an agent that is started elsewhere and whose last instance has gone.
GONE: Final = "no instance is connected"


def server() -> Iterator[Finding]:
    """Whether the server answers and is ready; if so, its agents and its database too."""
    try:
        with connect() as client:
            client.call("GET", "/ready", tries=1)
            yield Finding(OK, "server", "It answers and takes work.")
            yield from _agents(client)
            yield from _examination(client)
    except Misconfigured as error:
        nobody = find_holder() is None
        yield Finding(PROBLEM, "server", "None runs here: `workstation up` starts it." if nobody else error.message)
    except Unreachable as error:
        yield Finding(PROBLEM, "server", f"{error.message} `workstation up` starts it.")
    except Unavailable as error:
        yield Finding(PROBLEM, "server", error.message)
    except WorkstationError as error:
        yield Finding(PROBLEM, "server", f"It refuses to tell: {error.message}")


def _agents(client: Client) -> Iterator[Finding]:
    agents = get(client, "/api/agents", tries=1)["agents"]
    troubled = [finding for agent in agents for finding in _trouble(agent)]
    running = sum(agent["status"] == "running" for agent in agents)
    if not troubled:
        yield Finding(OK, "agents", f"{running} of {len(agents)} run, none has a problem.")
    yield from troubled


def _trouble(agent: Item) -> Iterator[Finding]:
    name, status, health = agent["name"], agent["status"], agent["healthStatus"]
    reason = agent.get("status_reason") or (agent.get("health_metadata") or {}).get("reason") or "no reason given"
    if agent["desired_status"] == "running" and status == "stopped" and agent["runtime"] == "external":
        yield _absent(name, reason)
    elif agent["desired_status"] == "running" and status in ("stopped", "error"):
        yield Finding(PROBLEM, "agents", f"{name} is {status} ({reason}): workstation agents logs {name}")
    elif status == "running" and health == "unhealthy":
        yield Finding(PROBLEM, "agents", f"{name} is unhealthy ({reason}): workstation agents show {name}")
    elif status == "running" and health == "degraded":
        yield Finding(WARNING, "agents", f"{name} is degraded ({reason}): workstation agents show {name}")


def _absent(name: str, reason: str) -> Finding:
    """An agent that somebody else starts: one that was here is missed, one that has not come yet is awaited."""
    if reason == GONE:
        return Finding(PROBLEM, "agents", f"{name} is gone ({reason}): start its process again.")
    return Finding(WARNING, "agents", f"{name} has not connected yet: start its process.")


def _examination(client: Client) -> Iterator[Finding]:
    """What the server finds in its database and itself, and whether this machine's clock agrees with the database's."""
    began, asked_at = time.monotonic(), now()
    try:
        examined = get(client, "/api/system/examination", tries=1)
    except NotAllowed:
        yield Finding(WARNING, "examination", "This token may not ask what hurts the queue: an operator's may.")
        return
    for found in examined["findings"]:
        yield Finding(found["level"], found["subject"], found["message"])
    there = instant(examined["database_time"])
    if there is not None:
        took = timedelta(seconds=time.monotonic() - began)
        yield from _clock(asked_at, there, took)


def _clock(asked_at: datetime, there: datetime, took: timedelta) -> Iterator[Finding]:
    """The database said its time somewhere between the question and the answer."""
    behind, ahead = there - (asked_at + took), asked_at - there
    if ahead < SKEWED and behind < SKEWED:
        yield Finding(OK, "clock", "This machine's agrees with the database's.")
        return
    by, where = (ahead, "ahead of") if ahead > behind else (behind, "behind")
    message = f"This machine's is {in_words(by)} {where} the database's: let both keep time by NTP."
    yield Finding(WARNING, "clock", message)
