"""Events by cursor. For admins."""

from __future__ import annotations

from typing import Final

from workstation.api.call import Call, Reply
from workstation.api.errors import wrong
from workstation.api.routing import Route
from workstation.api.rules import ADMIN
from workstation.api.schemas.common import Data
from workstation.api.schemas.events import EventPage, EventsQuery, cursor_of, cursor_text, event
from workstation.services import events
from workstation.store.events import Cursor

_MAX = Cursor(2**64 - 1, 2**63 - 1)


async def list_events(call: Call) -> Reply:
    """Events after a cursor, oldest first; without one the newest."""
    query: EventsQuery = call.query
    after = None if query.cursor is None else cursor_of(query.cursor)
    if after is not None and (after.tx > _MAX.tx or after.id > _MAX.id):
        raise wrong("cursor", "must be `next` of the page before")
    rows = await events.list_events(call.using.database, after, type_filter=query.type, limit=query.limit)
    end = rows[-1].cursor if rows else after or events.START
    return Reply(Data(data=EventPage(events=[event(row) for row in rows], next=cursor_text(end))))


ROUTES: Final = (
    Route(
        "GET",
        "/api/events",
        list_events,
        ADMIN,
        "List what has happened",
        "events",
        {200: Data[EventPage]},
        query=EventsQuery,
    ),
)
