"""What a socket had still to do when it goes is dropped without a trace."""

import asyncio
import gc
import warnings
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

from workstation.api.gateway.outbox import Outbox
from workstation.api.gateway.socket import AgentSocket
from workstation.services.instances import Hello


class Leases:
    """Notes whose lease was shortened."""

    def __init__(self) -> None:
        self.shortened: list[UUID] = []

    async def draining(self, _instances: Sequence[UUID]) -> None:
        """Never reached: the socket has gone before."""
        raise AssertionError("The socket has gone.")

    async def disconnected(self, instance: UUID) -> None:
        """Its socket closed."""
        self.shortened.append(instance)


async def test_a_socket_that_goes_while_it_begins_to_drain_leaves_no_warning() -> None:
    leases = Leases()
    dispatcher: Any = SimpleNamespace(leases=leases, roster=SimpleNamespace(find=lambda _: None))

    async def nothing(*_: Any) -> None:
        return None

    socket = AgentSocket(dispatcher, Hello(uuid4(), 1, 1), 1, nothing, Outbox(nothing))
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        socket._drain("restart")
        dropped = list(socket._background)
        await socket._leave()
        await asyncio.wait(dropped)
        dropped.clear()
        gc.collect()
    assert leases.shortened == [socket.session.instance_id]
    assert [str(each.message) for each in warned] == []
