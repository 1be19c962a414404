"""One connection to the server: hello, welcome, then frames both ways until it closes."""

import asyncio
import logging
from collections.abc import Callable

import msgspec
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from workstation_sdk.declaration import Declaration
from workstation_sdk.errors import ProtocolMismatch
from workstation_sdk.protocol import Bye, Drain, Hello, Refusal, ServerFrame, Welcome, decode, encode
from workstation_sdk.pulse import examine, heartbeat
from workstation_sdk.worker import Worker

_log = logging.getLogger("workstation_sdk")

WELCOME_SECONDS = 10.0
HEALTH_INTERVAL_MS = 5_000
HEALTH_CHECK_SECONDS = 2.0


class Session:
    """Moves frames between a socket and a worker.

    Heartbeats share the loop with the handlers, so that a stuck loop looks dead.
    """

    def __init__(
        self,
        socket: ClientConnection,
        worker: Worker,
        declaration: Declaration,
        launch: str | None,
        on_drain: Callable[[str], None],
    ) -> None:
        self._socket = socket
        self._worker = worker
        self._declaration = declaration
        self._launch = launch
        self._on_drain = on_drain
        self._wake = asyncio.Event()

    async def open(self) -> Welcome:
        """Say hello and return the server's welcome.

        Raises `ConnectionClosed`, `TimeoutError` after 10 s, or `ProtocolMismatch` for any other answer.
        """
        await self._socket.send(encode(self._hello()), text=True)
        async with asyncio.timeout(WELCOME_SECONDS):
            while True:
                frame = await self._next()
                if isinstance(frame, Welcome):
                    return frame
                if frame is not None:
                    raise ProtocolMismatch("the server did not answer hello with welcome: is this its agent address?")

    async def run(self, welcome: Welcome) -> None:
        """Serve the connection until it closes."""
        self._worker.attach(welcome.slots, self._wake.set)
        helpers = [
            asyncio.create_task(self._write(), name="agent writer"),
            asyncio.create_task(self._beat(welcome.heartbeat_ms / 1000), name="agent heartbeat"),
        ]
        try:
            await self._read()
        except ConnectionClosed:
            return
        finally:
            self._worker.detach()
            for helper in helpers:
                helper.cancel()
            await asyncio.gather(*helpers, return_exceptions=True)

    async def leave(self) -> None:
        """Say bye and close; a connection that is already gone is left just the same."""
        try:
            for frame in [*self._worker.frames(), encode(Bye())]:
                await self._socket.send(frame, text=True)
        except ConnectionClosed:
            return
        await self._socket.close()

    async def _read(self) -> None:
        while True:
            frame = await self._next()
            match frame:
                case Drain():
                    self._on_drain(frame.reason)
                case Refusal():
                    _log.warning("the server refused a frame: %s (%s)", frame.error, frame.code)
                case None:
                    continue
                case _:
                    self._worker.receive(frame)

    async def _next(self) -> ServerFrame | None:
        message = await self._socket.recv(decode=False)
        try:
            return decode(message)
        except msgspec.MsgspecError as error:
            raise ProtocolMismatch(f"the server sent a frame that does not fit the protocol: {error}") from error

    async def _write(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            for frame in self._worker.frames():
                await self._socket.send(frame, text=True)

    async def _beat(self, seconds: float) -> None:
        while True:
            health = await examine(self._declaration.health, limit=HEALTH_CHECK_SECONDS)
            await self._socket.send(heartbeat(health, self._worker.holding()), text=True)
            await asyncio.sleep(seconds)

    def _hello(self) -> Hello:
        declared = self._declaration
        return Hello(
            instance=self._worker.instance,
            slots=declared.concurrency,
            tasks=declared.schemas(),
            capabilities=declared.capabilities,
            region=declared.region,
            version=declared.version,
            launch=self._launch,
            health_interval_ms=HEALTH_INTERVAL_MS,
            holding=self._worker.holding(),
        )
