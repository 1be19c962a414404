"""`Agent`: declare handlers, then run."""

import asyncio
import inspect
import logging
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, NoReturn, TypeVar, overload

from workstation_sdk.declaration import Declaration, HealthCheck
from workstation_sdk.environment import find_launch, find_server
from workstation_sdk.errors import WorkstationError
from workstation_sdk.finding import find_agent
from workstation_sdk.loops import new_event_loop
from workstation_sdk.staying_connected import Patience, Service

EXIT_SECONDS = 1.0
"""For the loop and its threads to end after the agent has left."""

Function = TypeVar("Function", bound=Callable[..., Any])
Lifespan = Callable[["Agent"], AsyncIterator[Any] | AbstractAsyncContextManager[Any]]
LifespanFunction = TypeVar("LifespanFunction", bound=Lifespan)
HealthFunction = TypeVar("HealthFunction", bound=HealthCheck)


class Agent:
    """A kind of worker: task types with their handlers.

    `concurrency` is how many tasks it works on at once (None: as many as the server says), `region` and
    `version` are told to the server.
    """

    def __init__(
        self,
        name: str,
        *,
        capabilities: Sequence[str] = (),
        concurrency: int | None = None,
        region: str | None = None,
        version: str | None = None,
    ) -> None:
        if concurrency is not None and concurrency < 1:
            raise ValueError(f"concurrency is at least 1, not {concurrency}")
        self.declaration = Declaration(name, list(capabilities), concurrency, region, version)
        self._service: Service | None = None
        self._signalled = False

    @property
    def name(self) -> str:
        """The name the agent is registered by."""
        return self.declaration.name

    @overload
    def task(self, type: Function) -> Function: ...

    @overload
    def task(self, type: str | None = None) -> Callable[[Function], Function]: ...

    def task(self, type: Any = None) -> Any:
        """Make the decorated function the handler of a task type (by default its own name with - for _).

        Its first parameter is the context; the others are filled from the payload, and the payload's JSON
        Schema is made from them. Raises `TypeError` for a signature that cannot be filled from JSON,
        `ValueError` for a type that has a handler already.
        """
        if callable(type):
            return self.task()(type)

        def add(function: Function) -> Function:
            self.declaration.add(type or function.__name__.replace("_", "-"), function)
            return function

        return add

    def lifespan(self, function: LifespanFunction) -> LifespanFunction:
        """Open resources before the agent says hello and close them after it drained.

        The function takes the agent and yields once, or returns an async context manager; handlers find the
        value in `ctx.resources`.
        """
        factory: Any = asynccontextmanager(function) if inspect.isasyncgenfunction(function) else function
        self.declaration.resources = lambda: factory(self)
        return function

    def health(self, function: HealthFunction) -> HealthFunction:
        """Have the function, sync or async, asked at each heartbeat for a `Health` or a health word."""
        self.declaration.health = function
        return function

    async def serve(
        self,
        *,
        url: str | None = None,
        token: str | None = None,
        agent_id: str | None = None,
        patience: Patience | None = None,
    ) -> None:
        """Serve inside a running loop until drained.

        What is not given comes from the environment; without an id the agent finds itself by name. Raises
        `Misconfigured`, `Unauthenticated`, `NotAllowed`, `NotFound`, `ProtocolMismatch`, or `Unreachable`
        after ten minutes without a server.
        """
        if self._service is not None:
            raise RuntimeError(f"{self.name} is being served already: make another Agent to serve it twice")
        server, launch = find_server(url, token), find_launch()
        patience = patience or Patience()
        number = agent_id or launch.agent_id or await find_agent(self.name, server, offline=patience.offline)
        async with self.declaration.resources() as resources:
            self._service = Service(
                self.declaration, server, number, launch=launch.launch, resources=resources, patience=patience
            )
            try:
                await self._service.run()
            finally:
                self._service = None

    def drain(self) -> None:
        """Have `serve` finish what it holds and return; must be called on its loop."""
        if self._service is not None:
            self._service.drain()

    def run(self) -> NoReturn:
        """Serve until SIGTERM or SIGINT, drain, and exit the process.

        Exit codes: 0 drained; 1 an error of the agent's own; 2 the environment lacks something; 4 the token
        is not accepted; 5 no such agent; 7 no server for ten minutes; 76 the server speaks another protocol.
        """
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
        logging.getLogger("httpx").setLevel(logging.WARNING)
        code = 0
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            try:
                runner.run(self._serve_until_signalled())
            except WorkstationError as error:
                sys.stderr.write(f"{self.name}: {error}\n")
                code = error.exit_code
            _end_within(EXIT_SECONDS, code)
        sys.exit(code)

    async def _serve_until_signalled(self) -> None:
        loop = asyncio.get_running_loop()
        serving = asyncio.create_task(self.serve(), name="agent")
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal, serving, number.name)
        await asyncio.wait({serving})
        if not serving.cancelled():
            serving.result()

    def _on_signal(self, serving: asyncio.Task[None], name: str) -> None:
        if self._service is None:
            serving.cancel()
        elif self._signalled:
            self._service.hurry()
        else:
            self._signalled = True
            self._service.drain(name)


def _end_within(seconds: float, code: int) -> None:
    """End the process even where a handler that will not stop keeps the loop or a thread busy."""
    timer = threading.Timer(seconds, os._exit, (code,))
    timer.daemon = True
    timer.start()
