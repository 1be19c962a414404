"""What an agent declares: its handlers, resources and health, before it runs anywhere."""

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from workstation_sdk.health import Health
from workstation_sdk.schema import Parameters, read_signature

HealthCheck = Callable[[], Health | str | Awaitable[Health | str]]
Resources = Callable[[], AbstractAsyncContextManager[Any]]


class Handler:
    """One task type: its function and what the function takes."""

    __slots__ = ("blocking", "function", "parameters", "type", "waits")

    def __init__(self, type: str, function: Callable[..., Any]) -> None:
        self.type = type
        self.function = function
        self.parameters: Parameters = read_signature(function)
        self.blocking = not inspect.iscoroutinefunction(inspect.unwrap(function))
        self.waits = self.blocking
        """Whether it really waited when it last ran; decides how it is run the next time."""


@asynccontextmanager
async def _nothing() -> AsyncIterator[None]:
    yield None


def _always_healthy() -> Health:
    return Health()


@dataclass(slots=True)
class Declaration:
    """An agent as declared."""

    name: str
    capabilities: list[str]
    concurrency: int | None
    region: str | None
    version: str | None
    handlers: dict[str, Handler] = field(default_factory=dict)
    resources: Resources = _nothing
    health: HealthCheck = _always_healthy

    def add(self, type: str, function: Callable[..., Any]) -> None:
        """Add a handler; raises `ValueError` for a taken type or a name that is not 1..100 long."""
        if not 1 <= len(type) <= 100:
            raise ValueError(f"a task type is named with 1 to 100 characters, not {type!r}")
        if type in self.handlers:
            raise ValueError(f"{self.name} has a handler for {type!r} already: give one of them another type")
        self.handlers[type] = Handler(type, function)

    def schemas(self) -> dict[str, Any] | None:
        """Return the JSON Schema of each declared type, or None where none is declared."""
        return {name: handler.parameters.schema for name, handler in self.handlers.items()} or None
