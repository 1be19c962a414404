"""Profiles the server during each measured phase when BENCH_PROFILE names a folder; needs py-spy."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

FOLDER_VARIABLE = "BENCH_PROFILE"
SAMPLES_PER_SECOND = "200"


@asynccontextmanager
async def profiled(pid: int, phase: str) -> AsyncIterator[None]:
    """Writes `<folder>/<phase>.speedscope.json` of that process; does nothing without the variable.

    Raises RuntimeError when profiling is asked for and py-spy is not there. It slows the phase a little.
    """
    folder = os.environ.get(FOLDER_VARIABLE)
    if not folder:
        yield
        return
    program = shutil.which("py-spy")
    if program is None:
        raise RuntimeError(f"{FOLDER_VARIABLE} is set and py-spy is not on the path; install it")
    Path(folder).mkdir(parents=True, exist_ok=True)
    recorder = await asyncio.create_subprocess_exec(
        program, "record", "--pid", str(pid), "--rate", SAMPLES_PER_SECOND, "--nonblocking",
        "--format", "speedscope", "--output", str(Path(folder) / f"{phase}.speedscope.json"),
        stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield
    finally:
        if recorder.returncode is None:
            recorder.send_signal(signal.SIGINT)
        await recorder.wait()
