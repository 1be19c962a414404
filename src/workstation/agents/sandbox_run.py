"""One run in a sandbox: started, fed, watched, and ended as a whole tree."""

import asyncio
import os
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Literal

import psutil

from workstation.agents.sandbox import Limits, Sandbox

WATCH_SECONDS = 0.1
# A program may write this much more than is kept before it is stopped.
DISCARD_LIMIT = 16 * 1024 * 1024
CHUNK = 65536

KilledBy = Literal["timeout", "memory", "output"]


@dataclass(frozen=True, slots=True)
class Finished:
    """How a run ended. `exit_code` is None where we ended it, then `killed_by` says why."""

    exit_code: int | None
    stdout: bytes
    stderr: bytes
    duration_ms: int
    truncated: bool
    killed_by: KilledBy | None


async def run_in(
    sandbox: Sandbox,
    program: Sequence[str],
    *,
    limits: Limits,
    files: Mapping[str, bytes],
    stdin: bytes = b"",
) -> Finished:
    """Run `program` in `sandbox` with `files` in its folder.

    Nothing of it is left when this returns or is cancelled.
    """
    with _descriptors(files) as descriptors:
        started = time.monotonic()
        process = await asyncio.create_subprocess_exec(
            *sandbox.command(program, descriptors, limits),
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            pass_fds=tuple(descriptors.values()),
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
            start_new_session=True,
        )
    run = _Run(process, limits)
    try:
        await run.to_its_end(stdin)
    finally:
        run.kill(None)
        await asyncio.shield(process.wait())
    return run.finished(round((time.monotonic() - started) * 1000))


class _Run:
    def __init__(self, process: Process, limits: Limits) -> None:
        self._process = process
        self._limits = limits
        self._stdout, self._stderr = bytearray(), bytearray()
        self._written = 0
        self._killed_by: KilledBy | None = None

    async def to_its_end(self, stdin: bytes) -> None:
        assert self._process.stdout is not None and self._process.stderr is not None
        watching = asyncio.ensure_future(self._watch())
        try:
            await asyncio.gather(
                self._feed(stdin),
                self._collect(self._process.stdout, self._stdout),
                self._collect(self._process.stderr, self._stderr),
                self._process.wait(),
            )
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    def kill(self, reason: KilledBy | None) -> None:
        if self._process.returncode is None:
            self._killed_by = self._killed_by or reason
            _kill_sandbox(self._process.pid)

    def finished(self, duration_ms: int) -> Finished:
        code = self._process.returncode
        kept = len(self._stdout) + len(self._stderr)
        return Finished(
            exit_code=None if self._killed_by or code is None or code < 0 else code,
            stdout=bytes(self._stdout),
            stderr=bytes(self._stderr),
            duration_ms=duration_ms,
            truncated=self._written > kept,
            killed_by=self._killed_by,
        )

    async def _feed(self, stdin: bytes) -> None:
        pipe = self._process.stdin
        assert pipe is not None
        with suppress(BrokenPipeError, ConnectionResetError):  # a program need not read what it is given
            pipe.write(stdin)
            await pipe.drain()
        pipe.close()

    async def _collect(self, pipe: asyncio.StreamReader, kept: bytearray) -> None:
        while chunk := await pipe.read(CHUNK):
            self._written += len(chunk)
            kept += chunk[: self._limits.output - len(kept)]
            if self._written > DISCARD_LIMIT:
                self.kill("output")

    async def _watch(self) -> None:
        """End the run at its wall-clock limit, or when all its processes together hold too much memory."""
        deadline = time.monotonic() + self._limits.wall_seconds
        while (left := deadline - time.monotonic()) > 0:
            await asyncio.sleep(min(WATCH_SECONDS, left))
            if _resident_bytes(self._process.pid) > self._limits.memory:
                self.kill("memory")
        self.kill("timeout")


def _kill_sandbox(pid: int) -> None:
    """Kill process 1 of the sandbox, so that bubblewrap outside sees it end and leaves no zombie.

    Not `Process.kill`: that one may reap the process before the event loop does, and lose its exit code.
    """
    with suppress(psutil.NoSuchProcess):
        outside = psutil.Process(pid)
        for process in outside.children() or [outside]:
            process.kill()


def _resident_bytes(pid: int) -> int:
    total = 0
    with suppress(psutil.NoSuchProcess):
        for process in psutil.Process(pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                total += process.memory_info().rss
    return total


@contextmanager
def _descriptors(files: Mapping[str, bytes]) -> Iterator[dict[str, int]]:
    """In-memory files to hand to the sandbox: nothing of a task touches the disk."""
    with ExitStack() as stack:
        descriptors: dict[str, int] = {}
        for name, content in files.items():
            descriptor = os.memfd_create("sandbox-file")
            stack.callback(os.close, descriptor)
            with os.fdopen(descriptor, "wb", closefd=False) as file:
                file.write(content)
            os.lseek(descriptor, 0, os.SEEK_SET)
            descriptors[name] = descriptor
        yield descriptors
