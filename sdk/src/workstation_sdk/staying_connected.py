"""Staying connected to a server: come back after a break, drain when asked, and know when to give up."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from websockets.exceptions import ConnectionClosed

from workstation_sdk.chance import full_jitter
from workstation_sdk.declaration import Declaration
from workstation_sdk.environment import Server
from workstation_sdk.errors import Unreachable
from workstation_sdk.opening import DEAD_INSTANCE, OPEN_SECONDS, OPEN_SECONDS_OF_SEVERAL, final_error, open_socket
from workstation_sdk.session import Session
from workstation_sdk.worker import Worker

_log = logging.getLogger("workstation_sdk")

RESTART = "restart"


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for what, in seconds."""

    drain: float = 10.0
    """From the request to drain until the process is gone."""
    offline: float = 600.0
    """Without a server before giving up."""
    stop: float = 0.7
    """Of the drain: for handlers to stop after they were cancelled."""
    settle: float = 0.8
    """Of the drain: for the server's answers to the last reports."""


class Service:
    """One agent served to one server, or to one of its replicas at a time."""

    def __init__(
        self,
        declaration: Declaration,
        server: Server,
        agent_id: str,
        *,
        launch: str | None = None,
        resources: Any = None,
        patience: Patience | None = None,
    ) -> None:
        self._declaration = declaration
        self._server = server
        self._addresses = server.addresses
        self._at = 0
        self._agent_id = agent_id
        self._launch = launch
        self._resources = resources
        self._patience = patience or Patience()
        self._loop = asyncio.get_running_loop()
        self._worker = Worker(declaration, resources)
        self._session: Session | None = None
        self._asked = asyncio.Event()
        self._reason: str | None = None
        self._hurried = False
        self._left = False
        self._last_contact = self._loop.time()

    def drain(self, reason: str = "asked to stop") -> None:
        """Finish what is held, then leave; with reason `restart` come back as a new instance."""
        if self._reason in (None, RESTART):
            self._reason = reason
        self._asked.set()

    def hurry(self) -> None:
        """Give back at once what a drain still waits for."""
        self._hurried = True
        self._worker.changed.set()

    async def run(self) -> None:
        """Serve until drained.

        Raises `Unauthenticated`, `NotAllowed`, `NotFound` or `ProtocolMismatch` when the server will not
        have this agent, and `Unreachable` after `Patience.offline` seconds without a server.
        """
        try:
            while await self._serve_until_drained() == RESTART:
                self._renew()
        finally:
            self._worker.drop()

    async def _serve_until_drained(self) -> str | None:
        connected = asyncio.create_task(self._stay_connected(), name="agent connection")
        asked = asyncio.create_task(self._asked.wait(), name="agent drain")
        try:
            await asyncio.wait({connected, asked}, return_when=asyncio.FIRST_COMPLETED)
            if connected.done():
                connected.result()
            _log.info("%s drains: %s", self._declaration.name, self._reason)
            connected.add_done_callback(lambda _: self._worker.changed.set())
            await self._drain(connected)
        finally:
            connected.cancel()
            asked.cancel()
            await asyncio.gather(connected, asked, return_exceptions=True)
        return self._reason

    def _renew(self) -> None:
        self._worker.drop()
        self._worker = Worker(self._declaration, self._resources)
        self._asked.clear()
        self._reason = None
        self._left = False

    async def _drain(self, connected: asyncio.Task[None]) -> None:
        worker, patience = self._worker, self._patience
        deadline = self._loop.time() + patience.drain
        worker.stop_taking()
        await self._until(lambda: self._hurried or not worker.working, deadline - patience.stop - patience.settle)
        if self._hurried:
            deadline = self._loop.time() + patience.stop + patience.settle
        worker.give_back()
        await self._until(lambda: not worker.working, deadline - patience.settle)
        worker.abandon()
        await self._until(lambda: not worker.owing or connected.done(), deadline)
        self._left = True
        if self._session is not None:
            await self._session.leave()

    async def _until(self, reached: Callable[[], bool], deadline: float) -> None:
        changed = self._worker.changed
        while not reached() and self._loop.time() < deadline:
            changed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout_at(deadline):
                    await changed.wait()

    async def _stay_connected(self) -> None:
        failures = 0
        while not self._left:
            failures = 0 if await self._connect_once() else failures + 1
            offline = self._loop.time() - self._last_contact
            if offline >= self._patience.offline:
                raise Unreachable(f"no server at {self._server.urls} for {offline:.0f} s: giving up")
            await asyncio.sleep(full_jitter(failures // len(self._addresses), base=0.1, cap=2.0))

    async def _connect_once(self) -> bool:
        """Hold one connection until it closes; return whether it got as far as a welcome."""
        server = self._addresses[self._at]
        several = len(self._addresses) > 1
        try:
            socket = await open_socket(
                server, self._agent_id, within=OPEN_SECONDS_OF_SEVERAL if several else OPEN_SECONDS
            )
        except Unreachable as error:
            _log.info("%s", error)
            self._try_the_next()
            return False
        welcomed = False
        session = Session(socket, self._worker, self._declaration, self._launch, self.drain)
        try:
            welcome = await session.open()
            _log.info("%s is connected as agent %s to %s", self._declaration.name, welcome.agent, server.url)
            welcomed, self._session = True, session
            await session.run(welcome)
        except (ConnectionClosed, TimeoutError) as error:
            _log.info("the connection ended before the welcome: %s", error)
        finally:
            self._session = None
            await socket.close()
        self._last_contact = self._loop.time()
        self._after_close(socket.close_code, socket.close_reason)
        return welcomed

    def _after_close(self, code: int | None, reason: str | None) -> None:
        if (error := final_error(code, reason)) is not None:
            raise error
        if code == DEAD_INSTANCE:
            _log.warning("this instance is dead for the server: dropping its work")
            self._worker.drop()
            if self._asked.is_set():
                self._left = True
            else:
                self._worker = Worker(self._declaration, self._resources)
        else:
            self._try_the_next()

    def _try_the_next(self) -> None:
        self._at = (self._at + 1) % len(self._addresses)
