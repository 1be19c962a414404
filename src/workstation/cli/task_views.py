"""How tasks look to people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any, Final

import click
import msgspec

from workstation.cli.tables import Column, Item, card, field, printable, table
from workstation.cli.times import age, instant, local
from workstation.domain.words import in_words


def _who(task: Item) -> str:
    return str(task.get("agent_name") or task.get("agent_id") or f"any {task.get('capability')}")


def _tries(task: Item) -> str:
    begun = task.get("attempt", 0) > 0 and (task["status"] != "pending" or task.get("retry_count", 0) == 0)
    return f"{task.get('retry_count', 0) + begun}/{task.get('max_retries', 0) + 1}"


def _news(task: Item) -> str:
    if task["status"] == "running":
        progress = task.get("progress") or {}
        percent = progress.get("percent")
        return " ".join([f"{percent:.0f}%" if percent is not None else "", progress.get("message") or ""]).strip()
    error = task.get("error") if task["status"] in ("failed", "pending") else None
    return str((error or {}).get("message", ""))


COLUMNS: Final = (
    field("ID", "id"),
    field("TYPE", "type", elastic=True),
    Column("AGENT", _who, elastic=True),
    field("STATUS", "status"),
    Column("TRY", _tries),
    Column("AGE", lambda task: age(task.get("created_at"))),
    Column("NEWS", _news, elastic=True),
)

_ATTEMPTS: Final = (
    field("ATTEMPT", "attempt"),
    Column("BY", lambda tried: tried.get("agent_name") or tried.get("agent_id"), elastic=True),
    Column("BEGAN", lambda tried: local(tried.get("claimed_at"))),
    Column("TOOK", lambda tried: _took(tried)),
    Column("OUTCOME", lambda tried: tried.get("outcome") or "running"),
    Column("ERROR", lambda tried: (tried.get("error") or {}).get("message"), elastic=True),
)


def details(task: Item, attempts: Sequence[Item]) -> Iterator[str]:
    """Return the lines about a task, its attempts, payload and result."""
    yield from card(
        [
            ("task", f"{task['id']} {task['type']}"),
            ("status", task["status"]),
            ("in dead letter", "yes: `workstation tasks redrive` runs it again" if task.get("dead_letter") else None),
            ("agent", _who(task)),
            ("priority", task.get("priority")),
            ("tries", _tries(task)),
            ("times lost", task.get("lost_count") or None),
            ("timeout", in_words(timedelta(milliseconds=task.get("timeout_ms") or 0))),
            ("region", task.get("region")),
            ("created", local(task.get("created_at"))),
            ("by", task.get("created_by")),
            ("due", local(task.get("run_at")) if task["status"] in ("pending", "waiting") else None),
            ("began", local(task.get("started_at"))),
            ("ended", local(task.get("completed_at"))),
            ("progress", _news(task) if task["status"] == "running" else None),
            ("error", (task.get("error") or {}).get("message")),
        ]
    )
    if attempts:
        yield ""
        yield from table(attempts, _ATTEMPTS)
    yield from _document("payload", task.get("payload"))
    if task["status"] == "completed":
        yield from _document("result", task.get("result"))


def gates(explanation: Item) -> Iterator[str]:
    """Return the sentence about where a task is, then every gate that was asked where there are several."""
    yield printable(explanation["summary"])
    asked = explanation.get("gates") or []
    if len(asked) > 1:
        for gate in asked:
            mark = click.style("✓", fg="green") if gate["open"] else click.style("✗", fg="red")
            yield f"  {mark} {printable(gate['message'])}"


def _document(name: str, value: Any) -> Iterator[str]:
    yield ""
    yield click.style(name, bold=True)
    text = msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
    yield from (printable(line) for line in text.split("\n"))


def _took(tried: Item) -> str:
    began, ended = instant(tried.get("claimed_at")), instant(tried.get("ended_at"))
    return "" if began is None or ended is None else in_words(ended - began)
