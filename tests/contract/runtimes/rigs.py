"""One rig for each runtime driver: how the suite gets drivers, programs and fresh drivers of it."""

import json
import sys
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any
from uuid import uuid4

from workstation.runtimes.driver import Driver, Handle, LaunchSpec
from workstation.runtimes.fake import FakeDriver, FakeMachine, Program
from workstation.runtimes.process import ProcessDriver

READY = "ready"

SERVES = f"import time; print({READY!r}, flush=True); time.sleep(60)"
STUBBORN = f"import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SERVES}"
CRASHES = f"import sys; print({READY!r}, flush=True); sys.exit(3)"


class Rig(ABC):
    """Makes drivers of one kind, and specs of the suite's programs: serves, stubborn, crashes, missing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.drivers: list[Driver] = []

    def fresh(self) -> Driver:
        """A driver that knows nothing of copies started by others, as after a restart of the server."""
        self.drivers.append(self.make())
        return self.drivers[-1]

    def spec(self, program: str) -> LaunchSpec:
        return LaunchSpec(uuid4(), 7, program, self.run(program), self.folder / f"{uuid4()}.log")

    def stored(self, handle: Handle) -> Handle:
        """The handle as it comes back from the database."""
        restored: dict[str, Any] = json.loads(json.dumps(handle))
        return restored

    @abstractmethod
    def make(self) -> Driver: ...

    @abstractmethod
    def run(self, program: str) -> dict[str, Any]: ...


class ProcessRig(Rig):
    def make(self) -> Driver:
        return ProcessDriver({"PATH": "/usr/bin:/bin"})

    def run(self, program: str) -> dict[str, Any]:
        sources = {"serves": SERVES, "stubborn": STUBBORN, "crashes": CRASHES}
        if program not in sources:
            return {"command": ["no-such-program-anywhere"]}
        return {"command": [sys.executable, "-S", "-c", sources[program]]}


class FakeRig(Rig):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        programs = {
            "serves": Program(prints=(READY,)),
            "stubborn": Program(prints=(READY,), ignores_term=True),
            "crashes": Program(prints=(READY,), exit_code=3),
        }
        self.machine = FakeMachine(programs)

    def make(self) -> Driver:
        return FakeDriver(self.machine)

    def run(self, program: str) -> dict[str, Any]:
        return {"command": ["no-such-program-anywhere" if program == "missing" else program]}


RIGS: dict[str, type[Rig]] = {"process": ProcessRig, "fake": FakeRig}
