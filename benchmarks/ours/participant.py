"""Workstation as a participant: one turn starts a fresh server and takes it through every kind of load."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.ours.face import Face
from benchmarks.ours.server import COMMAND, Server, running_server
from benchmarks.peers.queue_peer import PICKUP_WARM_UP, PICKUPS, record_pickup
from benchmarks.processes import Program, tree_memory_mb
from benchmarks.profiling import profiled
from benchmarks.sample import Effort, Phase, Sample, Stopwatch

CONNECTIONS = 64
BATCH_CONNECTIONS = 16
SINGLE_TASKS = 20_000
BACKLOG_TASKS = 100_000
PRELOAD_BATCH, PRELOAD_CALLERS = 500, 2
WHOLE_SINGLE_TASKS = 24_000
WHOLE_BATCH_TASKS = 60_000
WHOLE_BATCH = 100
IDLE_AGENTS = 1_000
IDLE_SECONDS = 15.0
# The first heartbeat of an agent, within 5 s, tells the registry its health: it is not idle before.
FIRST_BEATS_SECONDS = 7.0
# A token may send 1,000 requests a second; with these the limits count and never refuse.
USER_TOKENS = 16
STALL_SECONDS = 120.0


@dataclass
class Bench:
    """A turn under way: the server, the calls to it, the benchmark's agent and what was measured so far."""

    server: Server
    face: Face
    agent_id: str
    agent_token: str
    admin_token: str
    user_tokens: list[str]
    sample: Sample
    submitted: int = 0

    async def order(
        self, tasks: int, *, batch: int = 1, connections: int = 1, keyed: bool = False, paced: bool = False
    ) -> Program:
        """Starts the load generator on the next `tasks` tasks."""
        order = {
            "port": self.server.port, "agent_id": self.agent_id, "tokens": self.user_tokens,
            "tasks": tasks, "first": self.submitted, "batch": batch, "connections": connections,
            "keyed": keyed, "paced": paced,
        }  # fmt: skip
        self.submitted += tasks
        return await Program.start(sys.executable, "-m", "benchmarks.ours.load", given=json.dumps(order))

    @asynccontextmanager
    async def agent(self, *mode: str) -> AsyncIterator[Program]:
        """The agent process; connected when yielded unless a backlog waits for it."""
        environment = os.environ | {
            "WORKSTATION_URL": self.server.url,
            "WORKSTATION_TOKEN": self.agent_token,
            "WORKSTATION_AGENT_ID": self.agent_id,
        }
        program = await Program.start(sys.executable, "-m", "benchmarks.ours.agent", *mode, env=environment)
        try:
            await program.until("starting", STALL_SECONDS)
            yield program
        finally:
            await program.stop(15)

    def watch(self, agent: Program | None = None) -> Stopwatch:
        """A stopwatch over the server's side and, when there is one, the agent's."""
        sides = {"postgres": self.server.postgres_cpu_seconds, "server": self.server.cpu_seconds}
        return Stopwatch(sides | ({"agent": agent.cpu_seconds} if agent else {}))

    async def connected(self) -> None:
        """Returns when the agent's instance runs."""
        async with asyncio.timeout(30):
            while not await self.face.is_connected(self.agent_id):
                await asyncio.sleep(0.05)


@dataclass(frozen=True)
class Workstation:
    """The installed program, through HTTP, its agent socket and its command line."""

    name: str = "workstation"
    note: str = (
        "One `workstation up` with its embedded PostgreSQL, one SDK agent process with 500 slots, a load "
        "generator over HTTP with JWTs; keeps results, attempts and events, and fences."
    )

    async def prepare(self) -> str | None:
        """Needs the installed command beside this interpreter."""
        return None if COMMAND.exists() else f"{COMMAND} does not exist; run `make setup` first"

    async def version(self) -> str:
        """What `workstation --version` prints."""
        process = await asyncio.create_subprocess_exec(COMMAND, "--version", stdout=asyncio.subprocess.PIPE)
        printed, _ = await process.communicate()
        return printed.decode().strip()

    async def measure(self, effort: Effort) -> Sample:
        """Every load on one fresh server; the second start and the idle agents in the first round only."""
        sample = Sample()
        with tempfile.TemporaryDirectory(prefix="bench-ws-", ignore_cleanup_errors=True) as temporary:
            folder = Path(temporary) / "data"
            async with running_server(folder) as server, bench_on(server, sample) as bench:
                sample.values["first_start_s"] = server.ready_seconds
                await pick_up(bench, effort.of(PICKUPS))
                await post_only(bench, effort.of(SINGLE_TASKS))
                await drain_backlog(bench, effort.of(BACKLOG_TASKS) // PRELOAD_BATCH * PRELOAD_BATCH)
                await whole_path(bench, "whole_single", effort.of(WHOLE_SINGLE_TASKS), 1, CONNECTIONS)
                tasks = effort.of(WHOLE_BATCH_TASKS) // WHOLE_BATCH * WHOLE_BATCH
                await whole_path(bench, "whole_batch", tasks, WHOLE_BATCH, BATCH_CONNECTIONS)
                if effort.first:
                    await idle_agents(bench)
            if effort.first:
                async with running_server(folder) as again:
                    sample.values["second_start_s"] = again.ready_seconds
        return sample


@asynccontextmanager
async def bench_on(server: Server, sample: Sample, agent: str = "bench") -> AsyncIterator[Bench]:
    """A turn on a running server: an agent of its own, tokens for it and for the users, nothing else at work."""
    admin = await server.token("--role", "admin")
    face = Face(server.url, admin)
    try:
        await face.stop_running_agents()
        agent_id = await face.register(agent)
        agent_token = await server.token("--role", "agent", "--agent", agent_id)
        users = [await server.token("--role", "user", "--subject", f"bench-{n}") for n in range(USER_TOKENS)]
        yield Bench(server, face, agent_id, agent_token, admin, users, sample)
    finally:
        await face.close()


async def pick_up(bench: Bench, tasks: int) -> None:
    """Latency of an idle system; it is also the agent's first hello, which declares its task type."""
    tasks += PICKUP_WARM_UP
    async with bench.agent("stamp") as agent:
        await bench.connected()
        load = await bench.order(tasks, paced=True)
        try:
            sent = [await load.until("sent", STALL_SECONDS) for _ in range(tasks)]
        finally:
            await load.stop()
        entered = [await agent.until("entered", STALL_SECONDS) for _ in range(tasks)]
        await bench.face.wait_settled(bench.agent_id, bench.submitted)
    record_pickup(bench.sample, sent[PICKUP_WARM_UP:], {report["n"]: report["ns"] for report in entered})


async def post_only(bench: Bench, tasks: int) -> None:
    """Single POSTs with idempotency keys, nobody draining."""
    load = await bench.order(tasks, connections=CONNECTIONS, keyed=True)
    async with profiled(bench.server.pid, "enqueue"):
        bench.sample.phases["enqueue"] = await _sent(bench, load, tasks, "enqueue")


async def drain_backlog(bench: Bench, backlog: int) -> None:
    """Fills the queue up in batches, then lets the agent drain all of it."""
    load = await bench.order(backlog, batch=PRELOAD_BATCH, connections=PRELOAD_CALLERS)
    bench.sample.phases["bulk"] = await _sent(bench, load, backlog, "bulk")
    waiting = bench.submitted - await bench.face.settled(bench.agent_id)
    async with bench.agent("count", str(waiting)) as agent, profiled(bench.server.pid, "drain"):
        await agent.until("first", STALL_SECONDS)
        watch = bench.watch(agent)
        await agent.until("last", STALL_SECONDS)
        await bench.face.wait_settled(bench.agent_id, bench.submitted)
        bench.sample.phases["drain"] = watch.phase(waiting)
        bench.sample.values["worker_memory_mb"] = tree_memory_mb(agent.pid)
        bench.sample.values["server_memory_mb"] = bench.server.memory_mb()


async def whole_path(bench: Bench, name: str, tasks: int, batch: int, connections: int) -> None:
    """POSTs while the agent drains; over when every task is settled."""
    async with bench.agent("count", str(tasks)) as agent, profiled(bench.server.pid, name):
        await bench.connected()
        load = await bench.order(tasks, batch=batch, connections=connections)
        try:
            await load.until("start", STALL_SECONDS)
            watch = bench.watch(agent)
            sent = await load.until("done", STALL_SECONDS)
            await agent.until("last", STALL_SECONDS)
            await bench.face.wait_settled(bench.agent_id, bench.submitted)
            phase = watch.phase(tasks)
        finally:
            await load.stop()
    _check(sent, tasks // batch)
    bench.sample.phases[name] = Phase(phase.tasks, phase.seconds, {**phase.cpu, "submitter": sent["cpu"]})


async def idle_agents(bench: Bench) -> None:
    """What many connected agents cost the server while they do nothing but beat."""
    before = bench.server.memory_mb()
    agent_ids = [await bench.face.register(f"bench-idle-{n}") for n in range(IDLE_AGENTS)]
    order = {"port": bench.server.port, "token": bench.admin_token, "agent_ids": agent_ids}
    agents = await Program.start(sys.executable, "-m", "benchmarks.ours.idle_agents", given=json.dumps(order))
    try:
        await agents.until("ready", STALL_SECONDS)
        await asyncio.sleep(FIRST_BEATS_SECONDS)
        watch = bench.watch()
        await asyncio.sleep(IDLE_SECONDS)
        phase = watch.phase(IDLE_AGENTS)
    finally:
        await agents.stop()
    bench.sample.values["idle_server_percent"] = phase.cpu["server"] / phase.seconds * 100
    bench.sample.values["idle_postgres_percent"] = phase.cpu["postgres"] / phase.seconds * 100
    bench.sample.values["idle_server_memory_mb"] = bench.server.memory_mb()
    bench.sample.values["idle_added_memory_mb"] = bench.sample.values["idle_server_memory_mb"] - before


async def _sent(bench: Bench, load: Program, tasks: int, name: str) -> Phase:
    try:
        await load.until("start", STALL_SECONDS)
        watch = bench.watch()
        done = await load.until("done", STALL_SECONDS)
        cpu = watch.phase(tasks).cpu
    finally:
        await load.stop()
    _check(done, None)
    bench.sample.values[f"{name}_p50_ms"] = done["p50_ms"]
    bench.sample.values[f"{name}_p99_ms"] = done["p99_ms"]
    return Phase(tasks, done["seconds"], {**cpu, "submitter": done["cpu"]})


def _check(done: dict[str, object], requests: int | None) -> None:
    statuses = done["statuses"]
    assert isinstance(statuses, dict)
    if set(statuses) != {"201"} or (requests is not None and statuses["201"] != requests):
        raise RuntimeError(f"not every POST was accepted: {statuses} {done['refusal']}")
