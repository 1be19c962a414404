"""How agents look to people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from workstation.cli.tables import Column, Item, card, field, printable, table
from workstation.cli.times import age, instant, local
from workstation.domain.words import in_words

COLUMNS: Final = (
    field("ID", "id"),
    field("NAME", "name"),
    field("TYPE", "type"),
    field("STATUS", "status"),
    field("HEALTH", "healthStatus"),
    field("CAPABILITIES", "capabilities", elastic=True),
)

_LAUNCHES: Final = (
    Column("STARTED", lambda launch: local(launch.get("started_at"))),
    field("BY", "driver"),
    field("STATE", "status"),
    Column("RAN", lambda launch: _ran(launch)),
    field("EXIT", "exit_code"),
    field("REASON", "reason", elastic=True),
)


def details(found: Item, why: Item) -> Iterator[str]:
    """Return the lines about an agent, its statistics, and why it is in its state."""
    agent, counts = found["agent"], found.get("statistics") or found.get("stats") or {}
    yield from card(
        [
            ("agent", f"{agent['id']} {agent['name']}"),
            ("type", agent.get("type")),
            ("status", agent.get("status")),
            ("reason", agent.get("status_reason")),
            ("since", local(agent.get("status_changed_at"))),
            ("wanted", agent.get("desired_status")),
            ("next start", local(why.get("next_start_at"))),
            *_health(agent),
            ("capabilities", agent.get("capabilities")),
            ("runtime", agent.get("runtime")),
            ("container", agent.get("containerName")),
            ("region", agent.get("region")),
            ("at once", agent.get("max_concurrency")),
            ("task types", list(agent.get("task_types") or ())),
            ("tasks", _counts(counts)),
        ]
    )
    if why.get("launches"):
        yield ""
        yield from table(why["launches"][:5], _LAUNCHES)


def health(agent: Item) -> Iterator[str]:
    """Return the lines about an agent's health alone."""
    yield from card([("agent", f"{agent['id']} {agent['name']}"), *_health(agent)])


def _health(agent: Item) -> list[tuple[str, Any]]:
    told = agent.get("health_metadata") or {}
    return [
        ("health", agent.get("healthStatus")),
        ("looked at", local(agent.get("lastHealthCheck"))),
        ("it says", ", ".join(f"{name} {printable(str(value))}" for name, value in told.items())),
    ]


def _counts(counts: Item) -> str:
    if not counts:
        return ""
    parts = [f"{counts.get(f'{word}_tasks', 0)} {word}" for word in ("completed", "failed", "active")]
    mean = counts.get("avg_execution_time_ms")
    if mean is not None:
        parts.append(f"{float(mean):.0f} ms each")
    return ", ".join(parts)


def _ran(launch: Item) -> str:
    ended = instant(launch.get("ended_at"))
    if ended is None:
        return age(launch.get("started_at"))
    started = instant(launch.get("started_at"))
    return "" if started is None else in_words(ended - started)
