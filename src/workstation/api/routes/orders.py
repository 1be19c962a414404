"""Start, stop and restart: the order is given, then the answer waits until it is so."""

from __future__ import annotations

from typing import Final

from workstation.api import ids, orders
from workstation.api.call import Call, Reply
from workstation.api.routing import Route
from workstation.api.rules import OPERATE
from workstation.api.schemas.agents import StopAgent, WaitQuery
from workstation.api.schemas.common import Done
from workstation.services import agents
from workstation.services.agents import Order


async def start_agent(call: Call) -> Reply:
    """Start an agent. 200 once it really runs; 202 when that takes longer than the wait."""
    agent_id = ids.number(call.params[0], "id")
    order = await agents.start(call.using.database, agent_id, call.principal)
    return await _answer(call, order, "running", "started", "starting")


async def stop_agent(call: Call) -> Reply:
    """Stop an agent: drained first, or at once with force. 200 once it is gone; 202 when that takes longer."""
    agent_id = ids.number(call.params[0], "id")
    force = call.body is not None and call.body.force
    order = await agents.stop(call.using.database, agent_id, call.principal, force=force)
    return await _answer(call, order, "stopped", "stopped", "stopping")


async def restart_agent(call: Call) -> Reply:
    """Stop an agent and start it again. 200 once it runs; 202 when that takes longer than the wait."""
    agent_id = ids.number(call.params[0], "id")
    order = await agents.restart(call.using.database, agent_id, call.principal)
    return await _answer(call, order, "running", "restarted", "restarting")


async def _answer(call: Call, order: Order, status: str, done: str, doing: str) -> Reply:
    query: WaitQuery = call.query
    call.using.ordered()
    await call.using.dispatcher.roster.refresh()
    seconds = 0.0 if status == "running" and order.runtime == "external" else query.wait
    if await orders.until(call.using.database, order, status, seconds, call.using.clock.monotonic):
        await call.using.dispatcher.roster.refresh()
        return Reply(Done(message=f"Agent {order.agent_id} {done} successfully"))
    if status == "running" and order.runtime == "external":
        elsewhere = f"Agent {order.agent_id} is started elsewhere; it runs as soon as it connects"
        return Reply(Done(message=elsewhere), 202)
    return Reply(Done(message=f"Agent {order.agent_id} is {doing}"), 202)


def _waits(call: Call) -> bool:
    return bool(call.query.wait)


def _order(verb: str, summary: str) -> Route:
    handlers = {"start": start_agent, "stop": stop_agent, "restart": restart_agent}
    return Route(
        "POST",
        f"/api/agents/:id/{verb}",
        handlers[verb],
        OPERATE,
        summary,
        "agents",
        {200: Done, 202: Done},
        ("not_found", "conflict", "runtime_failed"),
        body=StopAgent if verb == "stop" else None,
        body_needed=False,
        query=WaitQuery,
        watched=_waits,
        audit=f"agent.{verb}",
    )


ROUTES: Final = (
    _order("start", "Start an agent"),
    _order("stop", "Stop an agent"),
    _order("restart", "Restart an agent"),
)
