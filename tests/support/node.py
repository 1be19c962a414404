"""Programs for Node, run against a live server."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.support.live_server import LiveServer

LEAST_VERSION = 20


def node() -> str:
    """The path of a Node that is new enough; skips the test where there is none."""
    path = shutil.which("node")
    if path is None:
        pytest.skip("Node is not installed")
    version = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if int(version.lstrip("v").split(".")[0]) < LEAST_VERSION:
        pytest.skip(f"Node is {version}, and {LEAST_VERSION} is needed")
    return path


async def run_node(server: LiveServer, program: Path, *words: str) -> str:
    """What the program printed; fails where it ended with an error or wrote to its standard error."""
    environment = {**os.environ, "WORKSTATION_URL": server.url, "WORKSTATION_TOKEN": server.token}
    done = await asyncio.to_thread(
        subprocess.run,
        [node(), str(program), *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), f"{program.name}: {done.stdout}\n{done.stderr}"
    return done.stdout
