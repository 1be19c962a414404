"""A throw-away Redis for the peers that need one: append-only, flushed every second, on a socket of its own."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import tree_cpu_seconds

START_SECONDS = 10.0
# Flushed at every write it does 50 tasks a second; so it is usually run like this, and a crash may lose a second.
DURABLE = ("--appendonly", "yes", "--appendfsync", "everysec", "--save", "")


@dataclass
class Redis:
    """Started when it is first needed, on the binary that the peers' environment brings."""

    binary: Path | None = None
    _pid: int = 0
    _socket: Path = Path()

    def cpu_seconds(self) -> float:
        """Processor seconds of the server so far."""
        return tree_cpu_seconds(self._pid)

    @asynccontextmanager
    async def database(self, _name: str) -> AsyncIterator[str]:
        """A fresh server, stopped afterwards; yields its address as Celery spells it."""
        assert self.binary is not None
        folder = Path(tempfile.mkdtemp(prefix="bench-redis-"))
        self._socket = folder / "redis.sock"
        options = ("--port", "0", "--unixsocket", str(self._socket), "--dir", str(folder), *DURABLE)
        process = await asyncio.create_subprocess_exec(self.binary, *options, stdout=asyncio.subprocess.DEVNULL)
        self._pid = process.pid
        try:
            await self._until_it_answers()
            yield f"redis+socket://{self._socket}"
        finally:
            process.terminate()
            await process.wait()
            shutil.rmtree(folder)

    async def _until_it_answers(self) -> None:
        async with asyncio.timeout(START_SECONDS):
            while True:
                try:
                    if await self.ask("PING") == b"+PONG":
                        return
                except OSError:
                    await asyncio.sleep(0.05)

    async def ask(self, command: str) -> bytes:
        """The one-line answer to a command."""
        reader, writer = await asyncio.open_unix_connection(str(self._socket))
        try:
            writer.write(command.encode() + b"\r\n")
            return (await reader.readline()).strip()
        finally:
            writer.close()

    async def unfinished(self, _dsn: str, _question: str) -> bool:
        """Whether a task waits or was not acknowledged."""
        return any([await self.ask(command) != b":0" for command in ("LLEN celery", "HLEN unacked")])
