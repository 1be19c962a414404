"""What dispatch takes for its database in a simulation: the model of the queue, its connections broken by seed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from typing import Any, TypeVar
from unittest import mock

import asyncpg
from tests.support.queue_model import Agent, QueueModel

from workstation.dispatch import heartbeats
from workstation.services import agents, instances, queue
from workstation.store import agents as agent_store
from workstation.store import nodes as node_store
from workstation.store import tasks as task_store
from workstation.store.database import HotConnection, translated

T = TypeVar("T")
NODE_FORGOTTEN = 10.0


class Weather:
    """How the database and its network are now; everything by one seeded random."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.cut_before = self.cut_after = self.slow = self.deaf = 0.0
        self.away = False

    def clear(self) -> None:
        """All is well from now on."""
        self.cut_before = self.cut_after = self.slow = self.deaf = 0.0
        self.away = False

    async def pass_through(self) -> None:
        """One way to the database or back."""
        draw = self.chance.random()
        if draw < self.slow:
            await asyncio.sleep(self.chance.uniform(0.05, 2.0))
        elif draw > 0.6:
            await asyncio.sleep(self.chance.uniform(0.0, 0.004))


class ModelServer:
    """The one database of a world: the model, who listens, which replicas live."""

    def __init__(self, model: QueueModel, weather: Weather, trace: Callable[[str], None]) -> None:
        self.model = model
        self.weather = weather
        self.trace = trace
        self.listeners: list[ModelListener] = []
        self.nodes: dict[Any, float] = {}
        # Behind a pooler there is no way on which notifications come.
        self.pooled = False

    def count_others(self, node: Any) -> int:
        """Replicas other than this one whose lease runs."""
        return sum(until > self.model.now() for other, until in self.nodes.items() if other != node)

    def notify(self, payload: str) -> None:
        """Tell whoever listens, unless the notification gets lost."""
        loop = asyncio.get_running_loop()
        for listener in list(self.listeners):
            if self.weather.chance.random() >= self.weather.deaf:
                loop.call_later(self.weather.chance.uniform(0, 0.005), listener.hear, payload)

    def cut_listeners(self) -> None:
        """Every listening connection ends."""
        for listener in list(self.listeners):
            listener.end()


class ModelListener:
    """A connection that listens."""

    def __init__(self, server: ModelServer, heard: Callable[[str], None], lost: Callable[[], None]) -> None:
        self._server, self._heard, self._lost = server, heard, lost
        self._open = True
        server.listeners.append(self)

    def hear(self, payload: str) -> None:
        """A notification arrives."""
        if self._open:
            self._heard(payload)

    def end(self) -> None:
        """The connection breaks."""
        if self._open:
            self.terminate()
            self._lost()

    def terminate(self) -> None:
        """Close it."""
        self._open = False
        if self in self._server.listeners:
            self._server.listeners.remove(self)


class ModelConnection:
    """A connection on which verbs of the model are done, each committed at once."""

    def __init__(self, database: ModelDatabase) -> None:
        self.database = database
        self.model = database.server.model

    async def do(self, name: str, verb: Callable[[], T]) -> T:
        """Do a verb. The connection may break before it is done, or after, when nobody hears of it."""
        server, weather = self.database.server, self.database.server.weather
        await weather.pass_through()
        if self.database.dead or weather.away or weather.chance.random() < weather.cut_before:
            raise asyncpg.ConnectionDoesNotExistError("the connection was lost before the commit")
        answer = verb()
        server.trace(name)
        await weather.pass_through()
        if self.database.dead or weather.chance.random() < weather.cut_after:
            raise asyncpg.ConnectionDoesNotExistError("the connection was lost after the commit")
        return answer


class ModelHot(HotConnection):
    """The real kept connection, with its deadline and its repetitions, opened to the model."""

    def __init__(self, database: ModelDatabase, name: str) -> None:
        super().__init__("", name)
        self._database = database

    async def _open(self) -> Any:
        return ModelConnection(self._database)


class ModelDatabase:
    """One replica's way to the database."""

    def __init__(self, server: ModelServer) -> None:
        self.server = server
        self.dead = False

    @property
    def can_listen(self) -> bool:
        """Whether notifications can come."""
        return not self.server.pooled

    def hot(self, name: str) -> ModelHot:
        """A kept connection."""
        return ModelHot(self, name)

    @asynccontextmanager
    async def session(self, write: str | None = None) -> AsyncIterator[Any]:
        """A pooled connection."""
        with translated():
            await self.server.weather.pass_through()
            if self.dead or self.server.weather.away:
                raise asyncpg.ConnectionDoesNotExistError("the database is away")
            yield ModelConnection(self)

    async def listen(self, channel: str, heard: Callable[[str], None], lost: Callable[[], None]) -> ModelListener:
        """Hear notifications."""
        with translated():
            await self.server.weather.pass_through()
            if self.dead or self.server.weather.away:
                raise asyncpg.ConnectionDoesNotExistError("the database is away")
        return ModelListener(self.server, heard, lost)


def _row(agent: Agent) -> dict[str, Any]:
    return {
        "id": agent.id,
        "name": f"agent-{agent.id}",
        "type": "custom",
        "status": agent.status,
        "health_status": agent.health,
        "desired_status": agent.desired,
        "capabilities": sorted(agent.capabilities),
        "max_concurrency": None,
        "task_types": None,
        "region": None,
        "runtime": "external",
        "generation": 0,
        "removed_at": None,
    }


class Verbs:
    """The verbs of services and store that dispatch calls, done on the model."""

    # -- queue

    async def submit(self, c: ModelConnection, units: Any, ids: Any) -> Any:
        return await c.do(f"submit {list(ids)}", lambda: c.model.submit(units, ids))

    async def claim(self, c: ModelConnection, looks: Any, takers: Any, *, alone: bool = False) -> Any:
        if not alone:
            return await c.do("claim", lambda: c.model.claim(looks, takers))
        heads = await c.do("look", lambda: c.model.heads(looks))
        return await c.do(f"claim {[h.task_id for h in heads]}", lambda: c.model.give(heads, looks, takers))

    async def complete(self, c: ModelConnection, reports: Any) -> Any:
        keys = [(r.task_id, r.attempt) for r in reports]
        return await c.do(f"complete {keys}", lambda: c.model.report(reports, lambda: 0.0))

    async def settle(self, c: ModelConnection, reports: Any, jitter: Callable[[], float]) -> Any:
        keys = [(r.task_id, r.attempt, r.kind.value) for r in reports]
        return await c.do(f"settle {keys}", lambda: c.model.report(reports, jitter))

    async def record_progress(self, c: ModelConnection, items: Any) -> Any:
        return await c.do("progress", lambda: c.model.progress(items))

    async def held_by(self, c: ModelConnection, ids: Any) -> Any:
        return await c.do("held_by", lambda: c.model.held_by(ids))

    async def attempts_of(self, c: ModelConnection, ids: Any) -> Any:
        def look() -> Any:
            held = c.model.held_by(ids)
            return {i: {(claim.task_id, claim.attempt) for claim in claims} for i, claims in held.items()}

        return await c.do("attempts_of", look)

    # -- store

    async def take_ids(self, c: ModelConnection, n: int) -> Any:
        return await c.do("take_ids", lambda: c.model.take_ids(n))

    async def lanes_with_work(self, c: ModelConnection) -> Any:
        return await c.do("lanes", c.model.lanes_with_work)

    async def get_tasks(self, c: ModelConnection, ids: Any) -> Any:
        return await c.do(
            "get", lambda: {i: {"status": c.model.tasks[i].status.value} for i in ids if i in c.model.tasks}
        )

    async def get_counts(self, c: ModelConnection, agent_id: int | None = None) -> Any:
        return await c.do("counts", list[Any])

    async def sweep_claims(self, c: ModelConnection, limit: int) -> Any:
        overdue = await c.do("overdue", lambda: c.model.overdue()[:limit])
        return len(overdue), overdue

    async def list_orphans(self, c: ModelConnection, limit: int) -> Any:
        return await c.do("orphans", lambda: c.model.orphans()[:limit])

    async def changed_since(self, c: ModelConnection, floor: str) -> Any:
        changed, now = await c.do("agents", lambda: c.model.changed_since(int(floor)))
        return [_row(agent) for agent in changed], str(now)

    async def count_others(self, c: ModelConnection, node: Any) -> Any:
        return await c.do("nodes", lambda: c.database.server.count_others(node))

    async def notify(self, c: ModelConnection, channel: str, payload: str) -> Any:
        return await c.do("notify", lambda: c.database.server.notify(payload))

    # -- instances

    async def hello(self, c: ModelConnection, said: Any) -> Any:
        coming = (said.instance_id, said.agent_id, said.node_id)
        return await c.do(f"hello {said.instance_id}", lambda: c.model.hello(*coming))

    async def renew(self, c: ModelConnection, ids: Any) -> Any:
        return await c.do("renew", lambda: c.model.renew(ids))

    async def renew_own(self, c: ModelConnection, instance_id: Any, agent_id: int) -> Any:
        return await c.do("renew_own", lambda: c.model.renew_own(instance_id, agent_id))

    async def disconnected(self, c: ModelConnection, ids: Any, node: Any) -> Any:
        return await c.do("disconnected", lambda: c.model.shorten(ids, node))

    async def drain(self, c: ModelConnection, ids: Any) -> Any:
        return await c.do("drain", lambda: c.model.drain(ids))

    async def goodbye(self, c: ModelConnection, ids: Any, reason: str) -> Any:
        return await c.do("goodbye", lambda: c.model.goodbye(ids))

    async def reap_lapsed(self, c: ModelConnection, limit: int) -> Any:
        return await c.do("reap", c.model.reap)

    async def evict_stopped(self, c: ModelConnection) -> Any:
        return []

    async def report_health(self, c: ModelConnection, reports: Any) -> Any:
        return {report.agent_id for report in reports}


_PLACES: tuple[tuple[Any, tuple[str, ...]], ...] = (
    (queue, ("submit", "claim", "complete", "settle", "record_progress", "held_by", "attempts_of")),
    (heartbeats, ("held_by", "attempts_of")),
    (task_store, ("take_ids", "lanes_with_work", "get_tasks", "get_counts", "sweep_claims", "list_orphans")),
    (agent_store, ("changed_since",)),
    (node_store, ("count_others", "notify")),
    (
        instances,
        ("hello", "renew", "renew_own", "disconnected", "drain", "goodbye", "reap_lapsed", "evict_stopped"),
    ),
    (agents, ("report_health",)),
)


@contextmanager
def on_the_model() -> Iterator[None]:
    """Have dispatch and the reaper call the verbs of the model."""
    verbs = Verbs()
    with ExitStack() as stack:
        for module, names in _PLACES:
            stack.enter_context(mock.patch.multiple(module, **{name: getattr(verbs, name) for name in names}))
        stack.enter_context(mock.patch.object(queue, "submit_alone", verbs.submit))
        yield
