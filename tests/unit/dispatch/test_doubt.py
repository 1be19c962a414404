"""What became of a claim whose answer was lost is asked until the database answers."""

import asyncio
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

from workstation.api.gateway import frames
from workstation.api.gateway.outbox import Outbox
from workstation.api.gateway.socket import AgentSocket
from workstation.domain.errors import Unavailable
from workstation.services.instances import Hello


class Leases:
    """Answers after an outage."""

    def __init__(self) -> None:
        self.away = True
        self.asked = 0

    async def attempts_of(self, _instance: UUID) -> set[tuple[int, int]]:
        """Nothing is held, once it answers."""
        self.asked += 1
        if self.away:
            raise Unavailable("The database is away.")
        return set()


async def test_doubt_outlives_an_outage_of_the_database() -> None:
    leases = Leases()
    roster = SimpleNamespace(find=lambda _agent: None)
    dispatcher: Any = SimpleNamespace(leases=leases, roster=roster, wakeups=SimpleNamespace(others=0))

    async def nothing(*_: Any) -> None:
        return None

    socket = AgentSocket(dispatcher, Hello(uuid4(), 1, 1), 1, nothing, Outbox(nothing))
    for away, asked, doubtful in ((True, 1, True), (False, 2, False), (False, 2, False)):
        leases.away = away
        socket._heartbeat(frames.Heartbeat())
        await asyncio.sleep(0.01)
        assert (leases.asked, socket.session.doubtful) == (asked, doubtful)
