"""Events on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from workstation.api.schemas.common import PageLimit
from workstation.store.events import Cursor, EventRow


class EventsQuery(msgspec.Struct, frozen=True, kw_only=True):
    """A page of events. Without a cursor: the newest; `start`: from the oldest that is kept."""

    limit: PageLimit = 100
    cursor: Annotated[str, Meta(pattern="^(start|[0-9]{1,20}\\.[0-9]{1,19})$")] | None = None
    type: (
        Annotated[str, Meta(max_length=100, description="A type, or a beginning that ends in a dot: `task.`")] | None
    ) = None


class TaskChange(msgspec.Struct, frozen=True, kw_only=True):
    """What an event says of one task. version counts the changes of that task."""

    task: str
    version: int
    attempt: int | None
    agent: str | None
    type: str | None
    owner: str | None


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something that has happened. cursor continues after it; tasks where it tells of tasks, data otherwise."""

    cursor: str
    at: datetime
    type: str
    subject: str | None
    actor: str | None
    data: msgspec.Raw | UnsetType = UNSET
    tasks: list[TaskChange] | UnsetType = UNSET


class EventPage(msgspec.Struct, frozen=True, kw_only=True):
    """Events, oldest first; next is the cursor to go on with, now or later."""

    events: list[Event]
    next: str


_ITEMS = msgspec.json.Decoder(list[list[Any]])


def event(row: EventRow) -> Event:
    """A row as it is shown."""
    return Event(
        cursor=cursor_text(row.cursor),
        at=row.at,
        type=row.type,
        subject=row.subject,
        actor=row.actor,
        data=UNSET if row.data is None else msgspec.Raw(row.data.encode()),
        tasks=UNSET if row.items is None else [_change(*item) for item in _ITEMS.decode(row.items)],
    )


def _change(
    task: int, version: int, attempt: int | None, agent: int | None, type_: str | None, owner: str | None
) -> TaskChange:
    return TaskChange(
        task=str(task),
        version=version,
        attempt=attempt,
        agent=None if agent is None else str(agent),
        type=type_,
        owner=owner,
    )


def cursor_text(cursor: Cursor) -> str:
    """A cursor as it is shown."""
    return f"{cursor.tx}.{cursor.id}"


def cursor_of(text: str) -> Cursor:
    """The cursor of its text, which has passed the pattern of EventsQuery."""
    if text == "start":
        return Cursor(0, 0)
    tx, _, number = text.partition(".")
    return Cursor(int(tx), int(number))
