"""A scriptable driver: copies that exist only in a FakeMachine, to test a supervisor with."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from workstation.runtimes.driver import (
    CopyState,
    Handle,
    LaunchSpec,
    Observation,
    RuntimeFailure,
    Usage,
    utc_now,
)

TERM, KILL = 15, 9


@dataclass(frozen=True, slots=True)
class Program:
    """How a scripted program behaves.

    `fails` is raised by its start; `exit_code` ends it at once; `ignores_term` makes it live until killed;
    `prints` is its output; `start_delay` is how long its start takes.
    """

    exit_code: int | None = None
    ignores_term: bool = False
    prints: tuple[str, ...] = ()
    fails: RuntimeFailure | None = None
    start_delay: timedelta = timedelta(0)


@dataclass(slots=True)
class _Copy:
    spec: LaunchSpec
    program: Program
    seen: Observation
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    output: list[str] = field(default_factory=list)


class FakeMachine:
    """The machine behind fake drivers. It outlives them, as a real one outlives our process.

    `programs` maps the first word of `command` (or the name of a builtin) to its behaviour.
    """

    def __init__(self, programs: Mapping[str, Program], now: Callable[[], datetime] = utc_now) -> None:
        self.programs = dict(programs)
        self.reachable = True
        self.now = now
        self._copies: dict[str, _Copy] = {}

    def crash(self, launch_id: object, *, code: int | None = None, signal: int | None = None) -> None:
        """End a running copy behind everybody's back."""
        self._end(self._copies[str(launch_id)], code=code, signal=signal)

    def forget(self, launch_id: object) -> None:
        """Remove a copy without a trace: it is `gone` from now on."""
        self._copies.pop(str(launch_id)).ended.set()

    def running(self) -> list[LaunchSpec]:
        """The specs of all copies that run now, in the order of their start."""
        return [copy.spec for copy in self._copies.values() if copy.seen.running]

    def _end(self, copy: _Copy, *, code: int | None = None, signal: int | None = None) -> None:
        if copy.seen.running:
            copy.seen = Observation(CopyState.EXITED, self.now(), code, signal)
            copy.ended.set()

    def _begin(self, spec: LaunchSpec, program: Program) -> None:
        copy = _Copy(spec, program, Observation(CopyState.RUNNING, self.now()), output=list(program.prints))
        self._copies[str(spec.launch_id)] = copy
        if program.exit_code is not None:
            self._end(copy, code=program.exit_code)

    def _find(self, handle: Handle) -> _Copy | None:
        return self._copies.get(handle["launch"])


class FakeDriver:
    """Starts the programs of a FakeMachine. Two drivers on one machine see the same copies."""

    name = "fake"

    def __init__(self, machine: FakeMachine) -> None:
        self._machine = machine

    async def start(self, spec: LaunchSpec) -> Handle:
        """Start the program that `command` or `builtin` names, as scripted."""
        word = spec.run.get("builtin") or next(iter(spec.run.get("command", ())), None)
        program = self._machine.programs.get(str(word))
        if program is None:
            raise RuntimeFailure(
                f"The program {word!r} is not installed here: add it to the fake machine.", retryable=False
            )
        if program.start_delay:
            await asyncio.sleep(program.start_delay.total_seconds())
        if program.fails is not None:
            raise program.fails
        self._machine._begin(spec, program)
        return {"driver": self.name, "launch": str(spec.launch_id)}

    async def inspect(self, handle: Handle) -> Observation:
        """Look once; `unknown` while the machine is unreachable."""
        if not self._machine.reachable:
            return Observation(CopyState.UNKNOWN, self._machine.now())
        copy = self._machine._find(handle)
        return copy.seen if copy else Observation(CopyState.GONE, self._machine.now())

    async def wait(self, handle: Handle) -> Observation:
        """Wait for the end of the copy."""
        copy = self._machine._find(handle)
        if copy is not None:
            await copy.ended.wait()
        return await self.inspect(handle)

    async def stop(self, handle: Handle, grace: timedelta) -> Observation:
        """End the copy: at once, or by force after `grace` where its program ignores that."""
        copy = self._machine._find(handle)
        if copy is None or not copy.seen.running:
            return await self.inspect(handle)
        if copy.program.ignores_term:
            await asyncio.sleep(grace.total_seconds())
            self._machine._end(copy, signal=KILL)
        else:
            self._machine._end(copy, signal=TERM)
        return await self.inspect(handle)

    async def logs(self, handle: Handle, lines: int) -> list[str]:
        """What the program printed."""
        copy = self._machine._find(handle)
        return copy.output[-lines:] if copy and lines > 0 else []

    async def follow(self, handle: Handle, lines: int = 10) -> AsyncIterator[str]:
        """What the program printed; ends with the copy."""
        for line in await self.logs(handle, lines):
            yield line
        await self.wait(handle)

    async def stats(self, handle: Handle) -> Usage | None:
        """Nothing is used, but by a running copy."""
        copy = self._machine._find(handle)
        return Usage(0.0, 0, 1) if copy and copy.seen.running else None

    async def close(self) -> None:
        """Copies stay on the machine."""
