"""The runtimes there are, and which one runs an agent."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from workstation.runtimes.driver import Driver, RuntimeFailure
from workstation.runtimes.process import ProcessDriver


@dataclass(frozen=True, slots=True)
class DriverSettings:
    """What drivers are made from: our environment (little is taken), the bound of a log file in bytes."""

    environment: Mapping[str, str]
    log_bytes: int = 10 * 1024 * 1024


DRIVERS: Mapping[str, Callable[[DriverSettings], Driver]] = {
    "process": lambda settings: ProcessDriver(settings.environment, log_bytes=settings.log_bytes),
}

EXTERNAL = "external"
"""The runtime of an agent that somebody else starts; it has no driver."""

_MISSING = {
    "docker": "The container runtime driver is not part of this version: "
    'run this agent as a process ("command") or start it elsewhere and let it connect by itself (no "run").',
}


def make_drivers(settings: DriverSettings) -> dict[str, Driver]:
    """One driver of each kind; close each when done."""
    return {name: make(settings) for name, make in DRIVERS.items()}


def runtime_of(run: Mapping[str, Any] | None, container_name: str | None) -> str:
    """The name of the runtime for an agent: process, docker or external.

    Raises RuntimeFailure (not retryable) when the run spec names none or several ways to run.
    """
    if not run:
        return "docker" if container_name else EXTERNAL
    ways = [way for way in ("builtin", "command", "image") if way in run]
    if len(ways) != 1:
        raise RuntimeFailure(
            'A run spec needs exactly one of "builtin", "command" and "image"; '
            f"this one has {' and '.join(ways) or 'none'}.",
            retryable=False,
        )
    return "docker" if ways == ["image"] else "process"


def driver_named(drivers: Mapping[str, Driver], runtime: str) -> Driver:
    """The driver of a stored runtime name. Raises RuntimeFailure when this version has none such."""
    if runtime not in drivers:
        raise RuntimeFailure(
            _MISSING.get(runtime, f"There is no runtime driver {runtime!r}: known are {', '.join(sorted(drivers))}."),
            retryable=False,
        )
    return drivers[runtime]
