"""The world of a run: PostgreSQL, one or two orchestrators, agents, and the doors between them."""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.faults import CRASH_POINTS
from tests.chaos.processes import AgentKeeper, PostgresServer, Replica
from tests.chaos.proxy import Balancer, Proxy
from tests.chaos.recorder import Recorder
from tests.support.live_server import ROOT, LiveServer
from tests.support.waiting import until


@dataclass
class World:
    """Everything of a run that can be used and broken."""

    folder: Path
    record_file: Path
    postgres: PostgresServer
    replicas: list[Replica]
    clients_door: Proxy
    agents_door: Proxy
    python_path: str
    record: Recorder
    crash_points: tuple[str, ...] = CRASH_POINTS
    keepers: list[AgentKeeper] = field(default_factory=list)
    agents: dict[str, int] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Where clients ask."""
        return f"http://127.0.0.1:{self.clients_door.port}"

    @property
    def token(self) -> str:
        """An admin's token."""
        return self.replicas[0].server.token

    async def populate(self) -> None:
        """Register the agents and start their processes."""
        server = self.replicas[0].server
        for name in ("sdk", "pull"):
            self.agents[name] = await server.register(name, capabilities=["chaos"], max_concurrency=8)
            self.tokens[name] = await server.agent_token(self.agents[name])
        run = {
            "command": [sys.executable, "-m", "tests.chaos.agents.sdk_agent"],
            "env": {"RECORD": str(self.record_file), "PYTHONPATH": self.python_path},
        }
        self.agents["supervised"] = await server.register("supervised", max_concurrency=4, run=run)
        answer = await server.client().post(f"/api/agents/{self.agents['supervised']}/start?wait=0")
        assert answer.status_code == 202, answer.text
        for number, name in enumerate(("sdk", "sdk", "pull", "pull")):
            environment = {
                "WORKSTATION_URL": f"http://127.0.0.1:{self.agents_door.port}",
                "WORKSTATION_TOKEN": self.tokens[name],
                "WORKSTATION_AGENT_ID": str(self.agents[name]),
                "WORKSTATION_AGENT_NAME": name,
                # As if each ran on a machine of its own.
                "HOSTNAME": f"{name}-{number}",
                "RECORD": str(self.record_file),
                "PYTHONPATH": self.python_path,
            }
            log = self.folder / f"agent-{number}.log"
            self.keepers.append(AgentKeeper(f"{name}-{number}", f"{name}_agent", environment, log, self.record))
            self.keepers[-1].start()
        await until(self._all_there, within=60, what="the agents")
        await server.close()

    async def _all_there(self) -> bool:
        (row,) = await self.postgres.rows("select count(*) as n from agent_instances where status = 'live'")
        return bool(row["n"] >= len(self.keepers) + 1)

    async def supervised_pid(self) -> int | None:
        """The process of the supervised agent, if it runs."""
        rows = await self.postgres.rows(
            "select (handle ->> 'pid')::int as pid from agent_launches where agent_id = $1 and status = 'running'",
            self.agents["supervised"],
        )
        return rows[0]["pid"] if rows else None


@asynccontextmanager
async def built_world(
    folder: Path, replicas: int, source: Path, environment: dict[str, str] | None = None
) -> AsyncIterator[World]:
    """A world that runs, with its agents; everything is ended afterwards, however it stands."""
    record_file = folder / "record.jsonl"
    record = Recorder(record_file, "world")
    python_path = os.pathsep.join((str(source / "src"), str(source / "sdk" / "src"), str(ROOT)))
    async with AsyncExitStack() as stack:
        postgres = PostgresServer(folder)
        await postgres.start()
        stack.push_async_callback(postgres.stop)
        secret, made = secrets.token_hex(32), []
        own = {"JWT_SECRET": secret, "PYTHONPATH": python_path, **(environment or {})}
        for number in range(replicas):
            made.append(await _replica(stack, folder, number, postgres, own, record))
        balancer = Balancer([replica.server.port for replica in made])
        watching = asyncio.create_task(balancer.watch())
        stack.callback(watching.cancel)
        clients_door, agents_door = Proxy(balancer.reach), Proxy(balancer.reach)
        for door in (clients_door, agents_door):
            await door.start()
            stack.push_async_callback(door.close)
        world = World(folder, record_file, postgres, made, clients_door, agents_door, python_path, record)
        stack.push_async_callback(_end_agents, world)
        await world.populate()
        yield world


async def _replica(
    stack: AsyncExitStack,
    folder: Path,
    number: int,
    postgres: PostgresServer,
    environment: dict[str, str],
    record: Recorder,
) -> Replica:
    door = Proxy(postgres.reach)
    await door.start()
    stack.push_async_callback(door.close)
    own_folder = folder / f"replica-{number}"
    own_folder.mkdir()
    url = f"postgresql://workstation@127.0.0.1:{door.port}/workstation?sslmode=disable"
    server = LiveServer(own_folder, {"DATABASE_URL": url, **environment}, ["--no-agents"])
    replica = Replica(number, server, door, record)
    stack.push_async_callback(replica.end)
    await server.start()
    record("orchestrator ready", replica=number, pid=server.pid)
    replica.keep()
    return replica


async def _end_agents(world: World) -> None:
    await asyncio.gather(*(keeper.end() for keeper in world.keepers))
