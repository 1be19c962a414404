"""`python -m benchmarks.soak --minutes 60`: exit code 1 when a process grew by more than the goal or a task is lost."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import psutil

from benchmarks.ours.face import Face
from benchmarks.ours.server import Server, running_server
from benchmarks.processes import ROOT, Program, tree_memory_mb
from benchmarks.soak.load import Load
from benchmarks.soak.windows import growth, markdown

SAMPLE_SECONDS = 10.0
COMES_AND_GOES_SECONDS = 90.0
AGENTS = ("agent 1", "agent 2")
DRAIN_SECONDS = 120.0


class Samples:
    """Memory and open files of each process over time."""

    def __init__(self) -> None:
        self.memory: dict[str, list[float]] = defaultdict(list)
        self.files: dict[str, list[int]] = defaultdict(list)

    async def run(self, server: Server, agents: dict[str, Program]) -> None:
        """One sample of each every ten seconds, until it is cancelled."""
        while True:
            await asyncio.sleep(SAMPLE_SECONDS)
            self._take("PostgreSQL", server.postgres_pid, tree_memory_mb(server.postgres_pid))
            for name, pid in {"server": server.pid, **{name: one.pid for name, one in agents.items()}}.items():
                # Resident, not proportional: that grows when a neighbour ends with whom libraries were shared.
                self._take(name, pid, psutil.Process(pid).memory_info().rss / 1e6)

    def _take(self, name: str, pid: int, megabytes: float) -> None:
        self.memory[name].append(round(megabytes, 2))
        self.files[name].append(psutil.Process(pid).num_fds())


@asynccontextmanager
async def agent(server: Server, agent_id: str, token: str) -> AsyncIterator[Program]:
    """One agent process, connected soon after."""
    environment = os.environ | {
        "WORKSTATION_URL": server.url,
        "WORKSTATION_TOKEN": token,
        "WORKSTATION_AGENT_ID": agent_id,
    }
    program = await Program.start(sys.executable, "-m", "benchmarks.soak.agent", env=environment)
    try:
        await program.until("starting", 30)
        yield program
    finally:
        await program.stop(20)


async def come_and_go(server: Server, agent_id: str, token: str) -> None:
    """A third agent that is stopped and started again, for ever."""
    while True:
        async with agent(server, agent_id, token):
            await asyncio.sleep(COMES_AND_GOES_SECONDS)


async def soak(minutes: float, out: Path) -> int:
    """The whole run; the exit code."""
    with tempfile.TemporaryDirectory(prefix="soak-", ignore_cleanup_errors=True) as temporary:
        async with running_server(Path(temporary) / "data") as server:
            return await _soak(server, minutes, out)


async def _soak(server: Server, minutes: float, out: Path) -> int:
    admin = await server.token("--role", "admin")
    face = Face(server.url, admin)
    agent_id = await face.register("soak")
    token = await server.token("--role", "agent", "--agent", agent_id)
    samples, began = Samples(), time.monotonic()
    headers = {"Authorization": f"Bearer {admin}"}
    async with contextlib.AsyncExitStack() as stack:
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=server.url, headers=headers, timeout=30))
        agents = {name: await stack.enter_async_context(agent(server, agent_id, token)) for name in AGENTS}
        load = Load(http, agent_id)
        work = [
            asyncio.create_task(step)
            for step in (load.run(), samples.run(server, agents), come_and_go(server, agent_id, token))
        ]
        ended, _ = await asyncio.wait(work, timeout=minutes * 60, return_when=asyncio.FIRST_EXCEPTION)
        for task in work:
            task.cancel()
        await asyncio.gather(*work, return_exceptions=True)
        for task in ended:
            task.result()
        left = await _drained(http, agent_id)
        total = int((await _statistics(http, agent_id))["total_tasks"])
    await face.close()
    found = [growth(name, samples.memory[name], samples.files[name]) for name in samples.memory]
    lost = load.submitted - total
    facts = {
        "tasks acknowledged": f"{load.submitted:,} ({load.submitted / (minutes * 60):.0f} a second)",
        "of them cancelled": load.cancelled,
        "requests that failed": load.failures,
        "tasks that the server does not know": max(lost, 0),
        "tasks not final two minutes after the end": left,
        "took": f"{(time.monotonic() - began) / 60:.1f} minutes",
    }
    text = "\n".join(markdown(found, minutes, facts)) + "\n"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text)
    out.with_suffix(".json").write_text(json.dumps({"memory": samples.memory, "files": samples.files}))
    print(text)
    return int(lost > 0 or left > 0 or not all(one.met for one in found))


async def _statistics(http: httpx.AsyncClient, agent_id: str) -> dict[str, str]:
    answer = await http.get(f"/api/agents/{agent_id}/statistics")
    answer.raise_for_status()
    data: dict[str, str] = answer.json()["data"]
    return data


async def _drained(http: httpx.AsyncClient, agent_id: str) -> int:
    """How many tasks are not final when they should long be."""
    end = time.monotonic() + DRAIN_SECONDS
    while (left := int((await _statistics(http, agent_id))["active_tasks"])) and time.monotonic() < end:
        await asyncio.sleep(1)
    return left


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/soak.md", metavar="FILE")
    asked = parser.parse_args()
    sys.exit(asyncio.run(soak(asked.minutes, asked.out)))
