"""Journalling agents as processes: started by us as somebody else's program, or by the server from a run spec."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.live_server import PYTHONPATH, LiveServer

PROGRAM = Path(__file__).with_name("journalling_agent.py")


@dataclass(frozen=True)
class Line:
    """One line of a journal."""

    what: str
    task: int
    attempt: int
    pid: int
    said: str | None


class Journal:
    """What agents wrote down."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def lines(self) -> list[Line]:
        """Everything so far."""
        if not self.path.exists():
            return []
        return [Line(**{**line, "task": int(line["task"])}) for line in map(json.loads, self.path.open())]

    def reports(self) -> dict[tuple[int, int], set[str]]:
        """What was reported, by task and attempt."""
        said: dict[tuple[int, int], set[str]] = {}
        for line in self.lines():
            if line.said is not None:
                said.setdefault((line.task, line.attempt), set()).add(line.said)
        return said


class AgentProcess:
    """A journalling agent that we start, as somebody else would start theirs."""

    def __init__(
        self,
        server: LiveServer,
        agent_id: int,
        token: str,
        journal: Journal,
        name: str,
        url: str | None = None,
        **environment: str,
    ) -> None:
        """url is for one that is told several addresses."""
        self.log = server.folder / f"{name}.log"
        own = {
            "WORKSTATION_URL": url or server.url,
            "WORKSTATION_TOKEN": token,
            "WORKSTATION_AGENT_ID": str(agent_id),
            "JOURNAL": str(journal.path),
            "PYTHONPATH": PYTHONPATH,
        }
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, str(PROGRAM)],
                cwd=server.folder,
                env={**os.environ, **own, **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Its process number."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it lives."""
        return self._process.poll() is None

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def end(self) -> None:
        """End it, however it stands."""
        self._process.kill()
        self._process.wait(timeout=10)

    async def ended(self, within: float) -> int:
        """Wait for its end; its exit code."""
        return await asyncio.to_thread(self._process.wait, within)


def run_spec(journal: Journal) -> dict[str, Any]:
    """How the server starts a journalling agent by itself."""
    return {
        "command": [sys.executable, str(PROGRAM)],
        "env": {"JOURNAL": str(journal.path), "PYTHONPATH": PYTHONPATH},
    }
