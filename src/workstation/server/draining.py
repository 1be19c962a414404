"""Going down without harm: nothing more is given out; agents move to another replica, or finish and give back here."""

from __future__ import annotations

import asyncio
import contextlib

import structlog

from workstation.api.gateway.socket import GOING_AWAY
from workstation.domain.errors import Unavailable
from workstation.server.compose import Parts

_log = structlog.get_logger(__name__)


async def drain(parts: Parts, seconds: float) -> None:
    """Take nothing more, and return when this server may close.

    Alone: when the agents have finished or given back what they hold, after that many seconds at most. Beside other
    replicas: after all these seconds, during which every request is still served, so that a load balancer can see in
    /ready that it has to send them elsewhere. Agents started here are stopped in any case, however long that takes.
    """
    ends = asyncio.get_running_loop().time() + seconds
    parts.readiness.draining = True
    parts.dispatcher.stop_giving()
    others = await _count_others(parts)
    _log.info("draining", replicas_that_stay=others)
    with contextlib.suppress(Unavailable):
        await asyncio.gather(parts.supervisor.stop_all(), _see_off(parts, others, ends))


async def _count_others(parts: Parts) -> int:
    try:
        return await parts.node.retire()
    except Unavailable:
        # Where agents cannot be told to go, they stay and try again.
        return 0


async def _see_off(parts: Parts, others: int, ends: float) -> None:
    """Agents that reach another replica go on there with what they hold; those started here are being stopped."""
    for session in list(parts.dispatcher.floor):
        if others > 0 and not session.pulls and not parts.supervisor.runs(session.launch_id):
            session.close(GOING_AWAY, "This server goes down: go on with another one.")
        else:
            session.drain("restart")
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout_at(ends):
            while others > 0 or any(not s.pulls for s in parts.dispatcher.floor):  # noqa: ASYNC110 - one by one
                await asyncio.sleep(0.05)
