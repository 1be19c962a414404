"""Several real servers on one database, each with its own data folder and port, and clients that know them all."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import asyncpg
from tests.support.agent_process import AgentProcess, Journal
from tests.support.live_server import LiveServer
from tests.support.load import Record
from tests.support.waiting import until

from workstation_sdk import AsyncClient

SECRET = "the same for all replicas, 32 bytes and more"
DRAIN_SECONDS = 2


class Replica(LiveServer):
    """One of several servers on a database of somebody else's."""

    def __init__(self, folder: Path, dsn: str, environment: Mapping[str, str] | None = None) -> None:
        folder.mkdir()
        shared = {"DATABASE_URL": dsn, "JWT_SECRET": SECRET, "WORKSTATION_DRAIN_SECONDS": str(DRAIN_SECONDS)}
        super().__init__(folder, {**shared, **(environment or {})}, ["--no-agents"])
        self._dsn = dsn

    async def rows(self, query: str, *values: object) -> list[asyncpg.Record]:
        """Rows of the database, read past the servers."""
        connection = await asyncpg.connect(self._dsn, timeout=10, command_timeout=20)
        try:
            return list(await connection.fetch(query, *values))
        finally:
            await connection.close()

    def tell_agents(self, urls: str) -> None:
        """Have the agents it starts know all addresses, from its next start on."""
        self._environment["WORKSTATION_AGENT_URL"] = urls

    def drain_for(self, seconds: int) -> None:
        """Leave it so long to go down, from its next start on."""
        self._environment["WORKSTATION_DRAIN_SECONDS"] = str(seconds)

    def freeze(self) -> None:
        """SIGSTOP."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)


class Replicas:
    """Two of them, or more, and agents that know all their addresses."""

    def __init__(self, servers: list[Replica], folder: Path) -> None:
        self.servers = servers
        self.folder = folder
        self.stack = AsyncExitStack()
        self._agents = 0

    @property
    def urls(self) -> str:
        """All addresses, as in WORKSTATION_URL."""
        return ",".join(server.url for server in self.servers)

    @property
    def token(self) -> str:
        """The token of an admin, good at all of them."""
        return self.servers[0].token

    def journal(self) -> Journal:
        """A journal for agents."""
        return Journal(self.folder / f"journal-{self._agents}")

    async def connect(self, journal: Journal, at: int = 0, through: str | None = None) -> tuple[int, AgentProcess]:
        """An agent started elsewhere, connected to the server of that number first, or through a load balancer."""
        self._agents += 1
        server = self.servers[at]
        agent = await server.register(f"moving-agent-{self._agents}", max_concurrency=8)
        urls = ",".join(each.url for each in (*self.servers[at:], *self.servers[:at]))
        process = AgentProcess(
            server, agent, await server.agent_token(agent), journal, f"agent-{self._agents}", through or urls
        )
        self.stack.callback(process.end)
        await until(lambda: self.is_connected(agent) if through else self.is_at(agent, at), within=20)
        return agent, process

    async def is_connected(self, agent: int) -> bool:
        """Whether the one instance of an agent is connected to any of them."""
        return any([await self.is_at(agent, at) for at in range(len(self.servers))])

    async def is_at(self, agent: int, at: int) -> bool:
        """Whether the one instance of an agent is connected to the server of that number."""
        rows = await self.servers[at].rows(
            "select n.url from agent_instances i join nodes n on n.id = i.node_id "
            "where i.agent_id = $1 and i.status = 'live' and i.lease_expires_at > now()",
            agent,
        )
        return [row["url"] for row in rows] == [self.servers[at].url]


@asynccontextmanager
async def running_replicas(
    folder: Path, dsn: str, number: int = 2, environment: Mapping[str, str] | None = None
) -> AsyncIterator[Replicas]:
    """So many servers, ready; whoever makes them clears the folder."""
    replicas = Replicas([Replica(folder / f"replica-{n}", dsn, environment) for n in range(number)], folder)
    for server in replicas.servers:
        server.tell_agents(replicas.urls)
    await asyncio.gather(*(server.start() for server in replicas.servers))
    async with replicas.stack:
        try:
            yield replicas
        finally:
            for server in replicas.servers:
                await server.close()


@asynccontextmanager
async def submitting(
    replicas: Replicas, agent: int, through: str | None = None, pause: float = 0.02, clients: int = 3
) -> AsyncIterator[Record]:
    """Clients submit quick tasks during the block, to all addresses or through a load balancer.

    What fails for one of them fails here.
    """
    record, stopped = Record(), asyncio.Event()

    async def submit(number: int) -> None:
        async with AsyncClient(through or replicas.urls, replicas.token) as client:
            count = 0
            while not stopped.is_set():
                count += 1
                task = await client.submit("quick", agent=agent)
                record.acknowledge(f"{number}-{count}", int(task), "quick")
                await asyncio.sleep(pause)

    tasks = [asyncio.create_task(submit(number)) for number in range(clients)]
    try:
        yield record
    finally:
        stopped.set()
        await asyncio.gather(*tasks)
