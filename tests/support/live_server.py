"""A real server as a process, with its own data folder and port: started, killed, frozen, asked, looked into."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import psutil

from workstation.server.postgres import EmbeddedPostgres, PostgresOptions

ROOT = Path(__file__).parents[2]
PROGRAM = "from workstation.cli import main; main()"
PYTHONPATH = os.pathsep.join((str(ROOT), str(ROOT / "src"), str(ROOT / "sdk" / "src")))
READY_SECONDS = 60.0


class LiveServer:
    """One server. Whoever makes it clears the folder; see guarded_folder."""

    def __init__(self, folder: Path, environment: Mapping[str, str] | None = None, options: Sequence[str] = ()) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._output = folder / "server.out"
        self._environment = dict(environment or {})
        self._options = tuple(options)
        self._process: subprocess.Popen[bytes] | None = None
        self._clients: list[httpx.AsyncClient] = []

    # -- its life -------------------------------------------------------------------------------------------------

    @property
    def pid(self) -> int:
        """Its process number."""
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    async def start(self) -> float:
        """Start it and wait until it is ready; how many seconds that took."""
        began = time.monotonic()
        self.launch()
        await self.until_ready(READY_SECONDS)
        return time.monotonic() - began

    def launch(self) -> None:
        """Start it and go on."""
        assert not self.running
        with self._output.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, "up", *self._options],
                cwd=ROOT,
                env=self._whole_environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def set_environment(self, name: str, value: str | None) -> None:
        """What the next start has in its environment; None takes it out."""
        if value is None:
            self._environment.pop(name, None)
        else:
            self._environment[name] = value

    def _whole_environment(self) -> dict[str, str]:
        unwanted = ("WORKSTATION_", "DATABASE_", "JWT_", "ALLOWED_ORIGINS", "MAX_CONCURRENT_TASKS")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
        own = {"PORT": str(self.port), "WORKSTATION_DATA_DIR": str(self.data), "PYTHONPATH": PYTHONPATH}
        return {**kept, **own, **self._environment}

    async def run(self, *arguments: str) -> tuple[int, str]:
        """Run a command on its data folder: the exit code and all it printed."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", PROGRAM, *arguments),
            cwd=ROOT,
            env=self._whole_environment(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        assert process.returncode is not None
        return process.returncode, output.decode()

    async def until_ready(self, within: float) -> None:
        """Wait until it says that it is ready; fails where it ends first."""
        deadline = time.monotonic() + within
        async with httpx.AsyncClient(base_url=self.url, timeout=5) as client:
            while True:
                assert self.running, f"the server ended: {self.output()[-2000:]}"
                assert time.monotonic() < deadline, f"the server is not ready: {self.output()[-2000:]}"
                try:
                    if (await client.get("/ready")).status_code == 200:
                        return
                except httpx.TransportError:
                    pass
                await asyncio.sleep(0.02)

    def kill(self) -> None:
        """kill -9."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(timeout=10)

    async def terminate(self, within: float) -> tuple[int, float]:
        """SIGTERM; its exit code, and after how many seconds it was gone."""
        assert self._process is not None
        began = time.monotonic()
        self._process.send_signal(signal.SIGTERM)
        code = await asyncio.to_thread(self._process.wait, within)
        return code, time.monotonic() - began

    def output(self) -> str:
        """What it printed, and its log."""
        log = self.data / "logs" / "server.log"
        return self._output.read_text() + (log.read_text() if log.exists() else "")

    # -- asking it ------------------------------------------------------------------------------------------------

    @property
    def token(self) -> str:
        """The token of an admin, which the server saved for its command line."""
        return str(json.loads((self.data / "credentials.json").read_text())["token"])

    def client(self, **options: Any) -> httpx.AsyncClient:
        """A client of the admin; closed by close()."""
        headers = {"Authorization": f"Bearer {self.token}"}
        limits = httpx.Limits(max_connections=100)
        client = httpx.AsyncClient(base_url=self.url, headers=headers, limits=limits, **{"timeout": 70, **options})
        self._clients.append(client)
        return client

    async def close(self) -> None:
        """Close the clients."""
        for client in self._clients:
            await client.aclose()
        self._clients.clear()

    async def register(self, name: str, **fields: Any) -> int:
        """Register an agent; its number."""
        answer = await self.client().post("/api/agents", json={"name": name, "type": "custom", **fields})
        assert answer.status_code == 201, answer.text
        return int(answer.json()["data"]["agent"]["id"])

    async def agent_token(self, agent_id: int) -> str:
        """A token for an agent that is started elsewhere."""
        answer = await self.client().post("/api/tokens", json={"role": "agent", "agentId": str(agent_id)})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["data"]["token"])

    # -- looking into it ------------------------------------------------------------------------------------------

    @property
    def postgres(self) -> EmbeddedPostgres:
        """Its embedded PostgreSQL, to find its address."""
        return EmbeddedPostgres(self.data / "postgres", self.data / "logs" / "postgres.log", PostgresOptions())

    def postmaster(self) -> psutil.Process:
        """The main process of its PostgreSQL."""
        pid_file = next((self.data / "postgres").glob("*/postmaster.pid"))
        return psutil.Process(int(pid_file.read_text().splitlines()[0]))

    async def rows(self, query: str, *values: object) -> list[asyncpg.Record]:
        """Rows of its database, read past the server."""
        connection = await asyncpg.connect(self.postgres.dsn, timeout=10, command_timeout=20)
        try:
            return list(await connection.fetch(query, *values))
        finally:
            await connection.close()

    async def value(self, query: str, *values: object) -> Any:
        """One value of its database."""
        return (await self.rows(query, *values))[0][0]


_given: set[int] = set()


def free_port() -> int:
    """A port nobody listens on, another each time, below those the kernel gives to clients.

    A client that tries again and again could otherwise be given the very port it calls, and connect to itself.
    """
    first = 20_000 + os.getpid() * 13 % 10_000
    for port in range(first, first + 2_000):
        with socket.socket() as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                trial.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in _given:
            _given.add(port)
            return port
    raise AssertionError("no port is free")
