"""The audit log. For admins."""

from __future__ import annotations

from typing import Final

from workstation.api import ids
from workstation.api.call import Call, Reply
from workstation.api.routing import Route
from workstation.api.rules import ADMIN
from workstation.api.schemas.audit import AuditPage, AuditQuery, audit_item
from workstation.api.schemas.common import Data
from workstation.services import audit


async def list_audit(call: Call) -> Reply:
    """Verbs of admins and operators, and refusals, newest first."""
    query: AuditQuery = call.query
    before = None if query.cursor is None else ids.number(query.cursor, "cursor")
    rows = await audit.list_entries(
        call.using.database, before, actor=query.actor, action=query.action, limit=query.limit + 1
    )
    page, rest = rows[: query.limit], rows[query.limit :]
    shown = AuditPage(entries=[audit_item(row) for row in page], next=str(page[-1].id) if rest else None)
    return Reply(Data(data=shown))


ROUTES: Final = (
    Route(
        "GET",
        "/api/audit",
        list_audit,
        ADMIN,
        "List what admins and operators did, and who was refused",
        "audit",
        {200: Data[AuditPage]},
        query=AuditQuery,
    ),
)
