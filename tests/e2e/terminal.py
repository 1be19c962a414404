"""A user at a terminal: `workstation up` in one, commands in another, over one data folder."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

from tests.support.live_server import PYTHONPATH, free_port

PROGRAM = (sys.executable, "-c", "from workstation.cli import main; main()")
UP_SECONDS = 90.0
LAST_WORDS = "Ctrl-C stops everything"


class Terminal:
    """One data folder, its server, and commands against it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.output = folder / "up.out"
        self.server: subprocess.Popen[bytes] | None = None
        unwanted = ("WORKSTATION_", "DATABASE_", "JWT_", "ALLOWED_ORIGINS", "MAX_CONCURRENT_TASKS", "PORT")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
        own = {"PORT": str(free_port()), "WORKSTATION_DATA_DIR": str(self.data), "PYTHONPATH": PYTHONPATH}
        self.environment = {**kept, **own}

    def up(self) -> str:
        """Start the server and return what it printed once it was ready."""
        with self.output.open("wb") as output:
            self.server = subprocess.Popen(
                [*PROGRAM, "up"],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        ends = time.monotonic() + UP_SECONDS
        while LAST_WORDS not in self.output.read_text():
            assert self.server.poll() is None and time.monotonic() < ends, self.output.read_text()
            time.sleep(0.02)
        return self.output.read_text()

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Start a command."""
        return subprocess.Popen(
            [*PROGRAM, *arguments],
            cwd=self.folder,
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        process = self.start(*arguments, **environment)
        out, err = process.communicate(timeout=60)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def json(self, *arguments: str) -> Any:
        """What a command that works prints with -o json."""
        done = self.run(*arguments, "-o", "json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def api(self, path: str) -> Any:
        """The data of a GET, past the command line."""
        saved = json.loads((self.data / "credentials.json").read_text())
        request = urllib.request.Request(saved["url"] + path, headers={"Authorization": f"Bearer {saved['token']}"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)["data"]

    def start_agent(self, program: Path, number: str) -> subprocess.Popen[bytes]:
        """Start an agent's program with a token of its own, and return once it runs."""
        token = self.run("token", "create", "--role", "agent", "--agent", number).stdout.strip()
        url = json.loads((self.data / "credentials.json").read_text())["url"]
        process = subprocess.Popen(
            [sys.executable, str(program)],
            cwd=self.folder,
            env={
                **self.environment,
                "WORKSTATION_URL": url,
                "WORKSTATION_TOKEN": token,
                "WORKSTATION_AGENT_ID": number,
            },
            stdin=subprocess.DEVNULL,
        )
        ends = time.monotonic() + 30
        while self.api(f"/api/agents/{number}")["agent"]["status"] != "running":
            assert process.poll() is None and time.monotonic() < ends
            time.sleep(0.05)
        return process


def interrupt(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Press Ctrl-C; what the command had printed."""
    process.send_signal(signal.SIGINT)
    return process.communicate(timeout=30)
