"""Processor time and memory of process trees, and child programs that report in JSON lines."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parent.parent


class ProgramFailed(RuntimeError):
    """A child program ended early or said nothing in time."""


def tree_cpu_seconds(pid: int, *, without: int | None = None) -> float:
    """User and system seconds of a process, its living descendants and the children it has reaped.

    `without` is the root of a subtree that is left out. Zero when the process is gone.
    """
    return sum(_cpu(process) for process in _tree(pid, without))


def tree_memory_mb(pid: int, *, without: int | None = None) -> float:
    """Proportional set size in MB: memory shared between processes counts once."""
    return sum(_pss(process) for process in _tree(pid, without)) / 1e6


def _tree(pid: int, without: int | None) -> list[psutil.Process]:
    if pid == without:
        return []
    try:
        process = psutil.Process(pid)
        children = process.children()
    except psutil.NoSuchProcess:
        return []
    return [process, *(found for child in children for found in _tree(child.pid, without))]


def _cpu(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system + times.children_user + times.children_system)


def _pss(process: psutil.Process) -> int:
    with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        return int(process.memory_full_info().pss)
    return 0


class Program:
    """A running child program whose standard output is JSON lines."""

    def __init__(self, process: asyncio.subprocess.Process, command: Sequence[str]) -> None:
        self._process = process
        self._command = command

    @classmethod
    async def start(
        cls,
        *command: str,
        env: Mapping[str, str] | None = None,
        cwd: Path = ROOT,
        given: str = "",
    ) -> Program:
        """Starts it with `given` as its whole standard input; its standard error goes to ours."""
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, env=env, cwd=cwd, limit=2**24)
        assert process.stdin is not None
        process.stdin.write(given.encode())
        await process.stdin.drain()
        process.stdin.close()
        return cls(process, command)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def cpu_seconds(self) -> float:
        """Processor seconds of its process tree so far."""
        return tree_cpu_seconds(self.pid)

    async def line(self, timeout: float) -> dict[str, Any]:
        """The next report. Raises ProgramFailed when it ends or `timeout` seconds pass."""
        assert self._process.stdout is not None
        try:
            raw = await asyncio.wait_for(self._process.stdout.readline(), timeout)
        except TimeoutError:
            raise ProgramFailed(f"{self._command[-4:]} said nothing for {timeout:.0f} s") from None
        if not raw:
            raise ProgramFailed(f"{self._command[-4:]} ended with code {await self._process.wait()}")
        report: dict[str, Any] = json.loads(raw)
        return report

    async def until(self, event: str, timeout: float) -> dict[str, Any]:
        """Reads reports until one of that event; `timeout` is for each line."""
        while (report := await self.line(timeout)).get("event") != event:
            pass
        return report

    async def stop(self, grace: float = 10.0) -> None:
        """SIGTERM, and SIGKILL after `grace` seconds."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()
        try:
            await asyncio.wait_for(self._process.communicate(), grace)
        except TimeoutError:
            self._process.kill()
            await self._process.communicate()


async def run_program(*command: str, env: Mapping[str, str] | None = None, timeout: float = 120) -> dict[str, Any]:
    """Runs a program to its first report and stops it."""
    program = await Program.start(*command, env=env)
    try:
        return await program.line(timeout)
    finally:
        await program.stop()
