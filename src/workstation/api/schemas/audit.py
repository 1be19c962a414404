"""The audit log on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from workstation.api.schemas.common import NumberCursor, PageLimit
from workstation.store.audit import AuditRow


class AuditQuery(msgspec.Struct, frozen=True, kw_only=True):
    """A page of the audit log, narrowed to one actor or one verb."""

    limit: PageLimit = 50
    cursor: NumberCursor | None = None
    actor: Annotated[str, Meta(max_length=255)] | None = None
    action: Annotated[str, Meta(max_length=255)] | None = None


class AuditItem(msgspec.Struct, frozen=True, kw_only=True):
    """A verb somebody used or was refused; status is the HTTP status it was answered with."""

    id: str
    at: datetime
    actor: str
    role: str | None
    action: str
    object: str | None
    status: int
    request_id: str | None


class AuditPage(msgspec.Struct, frozen=True, kw_only=True):
    """Entries, newest first; next is the cursor of the page that follows, null at the end."""

    entries: list[AuditItem]
    next: str | None


def audit_item(row: AuditRow) -> AuditItem:
    """A row as it is shown."""
    return AuditItem(
        id=str(row.id),
        at=row.at,
        actor=row.actor,
        role=row.role,
        action=row.action,
        object=row.object,
        status=row.status,
        request_id=row.request_id,
    )
