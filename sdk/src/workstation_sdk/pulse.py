"""Heartbeats: still here, this healthy, holding these."""

import asyncio
import inspect
import logging
from collections.abc import Sequence

from msgspec import UNSET

from workstation_sdk.declaration import HealthCheck
from workstation_sdk.health import Health
from workstation_sdk.protocol import Heartbeat, Held, encode

_log = logging.getLogger("workstation_sdk")


async def examine(check: HealthCheck, *, limit: float) -> Health:
    """Return what the health check says; one that fails or takes over `limit` seconds means degraded."""
    try:
        answer = check()
        if inspect.isawaitable(answer):
            answer = await asyncio.wait_for(answer, limit)
        health = answer if isinstance(answer, Health) else Health(answer)  # type: ignore[arg-type]  # Health refuses
        encode(health.metadata)
    except TimeoutError:
        return _unknown(f"the health check took more than {limit:g} s")
    except Exception as error:  # noqa: BLE001 - a check of the agent's own may raise anything
        return _unknown(f"the health check failed: {type(error).__name__}: {error}")
    return health


def heartbeat(health: Health, holding: Sequence[Held]) -> bytes:
    """Return the heartbeat as a message."""
    metadata = UNSET if health.metadata is None else dict(health.metadata)
    return encode(Heartbeat(list(holding), health.status, metadata))


def _unknown(reason: str) -> Health:
    _log.warning("%s", reason)
    return Health("degraded", {"error": reason})
