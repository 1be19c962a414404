"""A whole Workstation on a folder of its own: `workstation up`, its tokens, and what its processes spend."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from benchmarks.processes import ROOT, tree_cpu_seconds, tree_memory_mb

COMMAND = Path(sys.executable).parent / "workstation"
READY_TIMEOUT = 60.0
STOP_TIMEOUT = 40.0
READY_POLL_SECONDS = 0.02


class ServerFailed(RuntimeError):
    """`workstation` did not start, or a command of it failed; the message holds its last words."""


@dataclass(frozen=True)
class Server:
    """A ready server: its process, its postmaster, where it listens and how long it took to be ready."""

    pid: int
    postgres_pid: int
    port: int
    folder: Path
    ready_seconds: float

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def cpu_seconds(self) -> float:
        """Processor seconds of the server without its PostgreSQL."""
        return tree_cpu_seconds(self.pid, without=self.postgres_pid)

    def postgres_cpu_seconds(self) -> float:
        """Processor seconds of its PostgreSQL."""
        return tree_cpu_seconds(self.postgres_pid)

    def memory_mb(self) -> float:
        """Memory of the server without its PostgreSQL."""
        return tree_memory_mb(self.pid, without=self.postgres_pid)

    async def token(self, *options: str) -> str:
        """Mints a token with `workstation token create` and those options."""
        process = await asyncio.create_subprocess_exec(
            COMMAND, "token", "create", *options, cwd=ROOT,
            env=_environment(self.folder, self.port) | {"WORKSTATION_URL": self.url},
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        printed, errors = await process.communicate()
        if process.returncode != 0:
            raise ServerFailed(f"`workstation token create` failed: {errors.decode()[-500:]}")
        return printed.decode().strip()


@asynccontextmanager
async def running_server(folder: Path, **settings: str) -> AsyncIterator[Server]:
    """`workstation up` on that data folder, yielded when it is ready and stopped with SIGTERM afterwards.

    `settings` are variables of its environment.
    """
    port, log = free_port(), folder.parent / "server.log"
    with log.open("ab") as output:
        started = time.perf_counter()
        process = await asyncio.create_subprocess_exec(
            COMMAND, "up", cwd=ROOT, env=_environment(folder, port) | settings, stdout=output, stderr=output,
            start_new_session=True,
        )  # fmt: skip
    try:
        await _wait_ready(process, port, log)
        yield Server(process.pid, _postmaster(folder), port, folder, time.perf_counter() - started)
    finally:
        await _stop(process)


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _environment(folder: Path, port: int) -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("WORKSTATION_") and name not in {"DATABASE_URL", "JWT_SECRET"}
    }
    return kept | {"PORT": str(port), "WORKSTATION_DATA_DIR": str(folder)}


async def _wait_ready(process: asyncio.subprocess.Process, port: int, log: Path) -> None:
    deadline = time.perf_counter() + READY_TIMEOUT
    async with httpx.AsyncClient() as http:
        while time.perf_counter() < deadline:
            if process.returncode is not None:
                raise ServerFailed(f"`workstation up` ended with {process.returncode}: {_tail(log)}")
            try:
                if (await http.get(f"http://127.0.0.1:{port}/ready")).status_code == httpx.codes.OK:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(READY_POLL_SECONDS)
    raise ServerFailed(f"`workstation up` was not ready after {READY_TIMEOUT:.0f} s: {_tail(log)}")


def _postmaster(folder: Path) -> int:
    for file in folder.rglob("postmaster.pid"):
        return int(file.read_text().split()[0])
    raise ServerFailed(f"no PostgreSQL runs under {folder}; the benchmark needs the embedded one")


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
    try:
        await asyncio.wait_for(process.wait(), STOP_TIMEOUT)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise ServerFailed(f"`workstation up` did not stop within {STOP_TIMEOUT:.0f} s of SIGTERM") from None


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-1000:]
