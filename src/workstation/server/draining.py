"""Going down without harm: nothing more is given out; agents move to another replica, or finish and give back here."""

from __future__ import annotations

import asyncio
import contextlib

import structlog

from workstation.api.gateway.socket import GOING_AWAY
from workstation.domain.errors import Unavailable
from workstation.server.compose import Parts

# For so long, or half the time there is, agents are to look for another replica; a load balancer notices meanwhile.
_LOOK_ELSEWHERE_SECONDS = 5.0
# What an agent needs to finish or give back, once it was told to.
_AGENT_SECONDS = 10.0
_GIVEN_OUT_SECONDS = 0.5
_log = structlog.get_logger(__name__)


async def drain(parts: Parts, seconds: float) -> None:
    """Take nothing more, and return when this server may close.

    Alone: when the agents have finished or given back what they hold, after that many seconds at most. Beside other
    replicas: after all these seconds, during which every request is still served, so that a load balancer can see in
    /ready that it has to send them elsewhere. Agents started here are stopped in any case, however long that takes.
    """
    ends = _now() + seconds
    parts.readiness.draining = True
    parts.dispatcher.stop_giving()
    others = await _count_others(parts)
    _log.info("draining", replicas_that_stay=others)
    with contextlib.suppress(Unavailable):
        seen_off = _send_elsewhere(parts, ends) if others > 0 else _have_finish(parts, ends)
        await asyncio.gather(parts.supervisor.stop_all(), seen_off)


async def _count_others(parts: Parts) -> int:
    try:
        return await parts.node.retire()
    except Unavailable:
        # Where agents cannot be told to go, they stay and try again.
        return 0


async def _have_finish(parts: Parts, ends: float) -> None:
    """Every agent finishes or gives back what it holds; one whose connection breaks may come back for that."""
    parts.door.let_back_in()
    for session in list(parts.dispatcher.floor):
        session.drain("restart")
    await _until_left(parts, ends)


async def _send_elsewhere(parts: Parts, ends: float) -> None:
    """Agents that reach another replica go on there with what they hold. Those started here are being stopped."""
    last_look = min(_now() + _LOOK_ELSEWHERE_SECONDS, (_now() + ends) / 2)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_GIVEN_OUT_SECONDS):
            await parts.dispatcher.given_out()
    for session in list(parts.dispatcher.floor):
        if session.pulls or parts.supervisor.runs(session.launch_id):
            session.drain("restart")
        else:
            session.close(GOING_AWAY, "This server goes down: go on with another one.")
    await asyncio.sleep(last_look - _now())
    # Who comes here still knows no other replica: it finishes or gives back what it holds, as if there were none.
    parts.door.let_back_in()
    await asyncio.sleep(ends - _now())
    await _until_left(parts, max(ends, last_look + _AGENT_SECONDS))


async def _until_left(parts: Parts, ends: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout_at(ends):
            while any(not s.pulls for s in parts.dispatcher.floor):  # noqa: ASYNC110 - they leave one by one
                await asyncio.sleep(0.05)


def _now() -> float:
    return asyncio.get_running_loop().time()
