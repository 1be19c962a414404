"""What goes to the audit log: verbs of admins and operators, and refusals of whatever changes something."""

from __future__ import annotations

from typing import Final

from workstation.api.call import Call
from workstation.api.routing import Route
from workstation.domain.principal import Role
from workstation.store.audit import AuditEntry

_WATCHED: Final = frozenset({Role.ADMIN, Role.OPERATOR})


def note(route: Route, call: Call, status: int) -> None:
    """Keep that an admin or operator used a verb, and how it ended."""
    if call.principal.role in _WATCHED:
        _record(route, call, status)


def refused(route: Route, call: Call) -> None:
    """Keep that somebody was refused a verb."""
    _record(route, call, 403)


def _record(route: Route, call: Call, status: int) -> None:
    path = route.path
    for name, value in zip(route.parameters, call.params, strict=True):
        path = path.replace(f":{name}", value[:40].replace("\0", "?"))
    call.using.audit.record(
        AuditEntry(
            actor=call.principal.owner,
            role=call.principal.role.value,
            action=route.audit or f"{route.method.lower()} {route.path}",
            object=path,
            status=status,
            request_id=call.request_id,
        )
    )
