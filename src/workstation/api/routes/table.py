"""Every route there is. A new noun is one file and one line here."""

from __future__ import annotations

from typing import Final

from workstation.api.routes import agent_side, agents, audit, events, logs, orders, system, tasks, tokens

ROUTES: Final = (
    *agents.ROUTES,
    *orders.ROUTES,
    *logs.ROUTES,
    *agent_side.ROUTES,
    *tasks.ROUTES,
    *tokens.ROUTES,
    *audit.ROUTES,
    *events.ROUTES,
    *system.ROUTES,
)
