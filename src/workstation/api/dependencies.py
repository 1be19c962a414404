"""What the API is built on, given to it once by whoever composes the process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from workstation.api.forwarded import Network
from workstation.api.gateway.pull import PullSessions
from workstation.api.keys import KeySource
from workstation.api.limits import Limits
from workstation.api.revocations import Revocations
from workstation.dispatch.admission import Admission
from workstation.dispatch.dispatcher import Dispatcher
from workstation.domain.findings import Examined
from workstation.services.audit import AuditTrail
from workstation.services.signing import SigningKey
from workstation.store.database import Database
from workstation.telemetry import clock

MAX_PAYLOAD_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """Values the environment decides. allowed_origins is the list of ALLOWED_ORIGINS, `*` for any.

    trusted_proxies are the networks whose X-Forwarded-For counts.
    """

    allowed_origins: tuple[str, ...] = ()
    trusted_proxies: tuple[Network, ...] = ()
    limits: Limits = field(default_factory=Limits)
    max_payload_bytes: int = MAX_PAYLOAD_BYTES
    identity_provider: KeySource | None = None


@dataclass(frozen=True, slots=True)
class Clock:
    """This machine's clocks: monotonic for limits, wall for the expiry of tokens. Tests bring their own."""

    monotonic: Callable[[], float] = clock.monotonic
    wall: Callable[[], float] = clock.wall


async def _nothing_missing() -> tuple[str, ...]:
    return ()


async def _nothing_found() -> Examined:
    return Examined(())


class LogSource(Protocol):
    """Where the output of started agents can be read. Raises NotFound, and RuntimeFailed when it cannot be read."""

    async def tail(self, agent_id: int, lines: int) -> list[str]:
        """The last lines of an agent, oldest first; none for an agent that was not started by us."""
        ...

    def follow(self, agent_id: int, lines: int) -> AsyncIterator[str]:
        """The last lines and then every new one as it comes."""
        ...


@dataclass(frozen=True, slots=True)
class Dependencies:
    """Everything a handler may use.

    ordered() is called after an order to start or stop an agent, so that it is carried out at once. missing() tells
    what is not ready yet, one sentence each; empty when all is. leaving() is true while the server goes down. examine()
    looks for what silently hurts the queue.
    """

    database: Database
    key: SigningKey
    revocations: Revocations
    audit: AuditTrail
    dispatcher: Dispatcher
    admission: Admission
    pulling: PullSessions
    logs: LogSource
    ordered: Callable[[], None]
    settings: ApiSettings = field(default_factory=ApiSettings)
    clock: Clock = field(default_factory=Clock)
    missing: Callable[[], Awaitable[tuple[str, ...]]] = _nothing_missing
    leaving: Callable[[], bool] = lambda: False
    examine: Callable[[], Awaitable[Examined]] = _nothing_found
