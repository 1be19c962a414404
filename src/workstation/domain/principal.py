"""Who is asking: the verified content of a token."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What a token may do, from most to least."""

    ADMIN = "admin"
    OPERATOR = "operator"
    USER = "user"
    VIEWER = "viewer"
    AGENT = "agent"


@dataclass(frozen=True, slots=True)
class Principal:
    """A verified caller. agent_id is set for role agent alone; token_id is the token's jti, if it has one."""

    subject: str
    role: Role
    agent_id: int | None = None
    token_id: str | None = None

    @property
    def owner(self) -> str:
        """The name under which this caller's tasks are kept (created_by)."""
        return f"agent:{self.agent_id}" if self.role is Role.AGENT else self.subject

    @property
    def sees_everything(self) -> bool:
        """Whether tasks of others are visible at all."""
        return self.role in (Role.ADMIN, Role.OPERATOR, Role.VIEWER)

    @property
    def acts_on_everything(self) -> bool:
        """Whether tasks of others may be changed."""
        return self.role in (Role.ADMIN, Role.OPERATOR)
