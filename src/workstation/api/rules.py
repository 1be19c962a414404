"""Who may call a route: roles by name. What of it they see is decided where the rows are, by the principal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from workstation.domain.principal import Role


@dataclass(frozen=True, slots=True)
class Rule:
    """The roles that may call, or nobody asked at all. own_agent: role agent only under its own number in the path."""

    roles: frozenset[Role]
    needs_token: bool = True
    own_agent: bool = False

    def describe(self) -> str:
        """For the documents: who may call."""
        if not self.needs_token:
            return "Open: needs no token."
        names = [role.value for role in Role if role in self.roles]
        own = " An agent only for itself." if self.own_agent and Role.AGENT in self.roles else ""
        return f"Roles: {', '.join(names)}.{own}"


def _roles(*roles: Role, own_agent: bool = False) -> Rule:
    return Rule(frozenset(roles), own_agent=own_agent)


OPEN: Final = Rule(frozenset(Role), needs_token=False)
ADMIN: Final = _roles(Role.ADMIN)
OPERATE: Final = _roles(Role.ADMIN, Role.OPERATOR)
READ_FLEET: Final = _roles(Role.ADMIN, Role.OPERATOR, Role.USER, Role.VIEWER)
LIST_AGENTS: Final = _roles(Role.ADMIN, Role.OPERATOR, Role.USER, Role.VIEWER, Role.AGENT)
READ_LOGS: Final = _roles(Role.ADMIN, Role.OPERATOR, Role.VIEWER)
READ_AGENT: Final = _roles(Role.ADMIN, Role.OPERATOR, Role.USER, Role.VIEWER, Role.AGENT, own_agent=True)
READ_TASKS: Final = _roles(Role.ADMIN, Role.OPERATOR, Role.USER, Role.VIEWER, Role.AGENT)
CHANGE_TASKS: Final = _roles(Role.ADMIN, Role.OPERATOR, Role.USER, Role.AGENT)
REPORT_HEALTH: Final = _roles(Role.ADMIN, Role.OPERATOR, Role.AGENT, own_agent=True)
BE_AGENT: Final = _roles(Role.ADMIN, Role.AGENT, own_agent=True)
HOLD_TASK: Final = _roles(Role.ADMIN, Role.AGENT)
