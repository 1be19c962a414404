"""A whole installation in virtual time: replicas, agents, clients and a nemesis, all by one seed.

The dispatch, the gateway, the reaper and the SDK are the real ones; the database is a model and sockets are pipes.
"""

from __future__ import annotations

import asyncio
import contextvars
import hashlib
import json
import logging
import random
import sys
import uuid
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast
from unittest import mock

import structlog
from tests.support.model_database import NODE_FORGOTTEN, ModelDatabase, ModelServer, Weather, on_the_model
from tests.support.pipe import Pipe, read
from tests.support.queue_model import QueueModel
from tests.support.virtual_time import VirtualTimeLoop, run_virtually

from workstation.api.gateway.door import AgentDoor
from workstation.dispatch.dispatcher import Chances, Dispatcher
from workstation.dispatch.session import Session
from workstation.domain.errors import Refusal, Unavailable
from workstation.domain.principal import Principal, Role
from workstation.domain.tasks import FINAL, NewTask, TaskStatus
from workstation.engine.loop import Loop
from workstation.engine.reaper import Reaper
from workstation.server.compose import Parts
from workstation.server.draining import drain
from workstation_sdk import Agent, TaskFailed, staying_connected, worker
from workstation_sdk.environment import Server
from workstation_sdk.errors import Unreachable

LONG = 600_000
# As long as the server waits for requests under way.
_GRACEFUL_SECONDS = 3.0
OWNER: contextvars.ContextVar[Owner | None] = contextvars.ContextVar("owner", default=None)


class Violation(AssertionError):
    """A promise was broken."""


class Owner:
    """Something that can be killed: every task begun by it ends."""

    def __init__(self) -> None:
        self.tasks: set[asyncio.Task[Any]] = set()
        self.alive = True

    def start(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """Run something as part of it."""
        context = contextvars.copy_context()
        context.run(OWNER.set, self)
        return asyncio.get_running_loop().create_task(work, name=name, context=context)

    def kill(self) -> None:
        """End it as a signal that cannot be caught does."""
        self.alive = False
        for task in sorted(self.tasks, key=hash):
            task.cancel()


class Node:
    """A replica's own entry among the replicas."""

    def __init__(self, server: ModelServer, number: uuid.UUID) -> None:
        self._server, self._number = server, number
        self._retired = False

    def renew(self) -> None:
        """It lives."""
        if not self._retired:
            self._server.nodes[self._number] = self._server.model.now() + NODE_FORGOTTEN

    async def retire(self) -> int:
        """It counts no more; how many others do."""
        self._retired = True
        async with ModelDatabase(self._server).session() as connection:
            return await connection.do("retire", self._leave)

    def _leave(self) -> int:
        self._server.nodes.pop(self._number, None)
        return self._server.count_others(self._number)


class NothingStarted:
    """The supervisor of a replica that has started no agent."""

    def runs(self, _launch: uuid.UUID | None) -> bool:
        """None of them."""
        return False

    async def stop_all(self) -> None:
        """There is nothing to stop."""


class Replica(Owner):
    """One orchestrator process."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world
        self.id = world.new_uuid()
        self.database = ModelDatabase(world.server)
        loop = asyncio.get_running_loop()
        self.dispatcher = Dispatcher(
            self.database,  # type: ignore[arg-type]  # the model of it
            self.id,
            Chances(loop.time, world.chance.random),
        )
        self.door = AgentDoor(self.dispatcher, 3)
        self.door.authenticated_by(self._admit)
        self.pipes: list[Pipe] = []
        self.listens = True
        self.readiness, self.node = SimpleNamespace(draining=False), Node(world.server, self.id)
        self.supervisor = NothingStarted()

    async def _admit(self, _header: bytes | None) -> Principal:
        return Principal("test", Role.ADMIN)

    def begin(self) -> None:
        """Start everything that a server runs for dispatch."""
        reaper = Reaper(self.database, self.dispatcher, asyncio.get_running_loop().time)  # type: ignore[arg-type]
        self.start(self.dispatcher.claimer.run(), "claimer")
        self.start(self.dispatcher.wakeups.listen(), "listener")
        for name, step, seconds in (
            ("poll", self._poll, 1.0),
            ("looks", self._look, 0.25),
            ("leases", self.dispatcher.leases.renew_once, 1.0),
            ("reaper", reaper.reap_once, 1.0),
        ):
            loop = Loop(name, step, interval=timedelta(seconds=seconds), batch=1, draw=self.world.chance.random)
            self.start(loop.run(), name)

    async def _poll(self) -> int:
        self.node.renew()
        await self.dispatcher.poll_once()
        return 0

    async def _look(self) -> int:
        await self.dispatcher.look_once()
        return 0

    async def go_down(self, seconds: float) -> None:
        """Go as on a signal that asks for it: with the server's own way to drain and to close."""
        going = self.start(drain(cast("Parts", self), seconds), "drain")
        await asyncio.wait([going])
        if going.cancelled():
            return
        going.result()
        self.listens = False
        self.door.close_all()
        await asyncio.wait([self.start(asyncio.sleep(_GRACEFUL_SECONDS), "closing")])
        await asyncio.wait([self.start(self.dispatcher.close(), "close")])
        self.kill()

    def kill(self) -> None:
        """Its connections break with it."""
        self.listens = False
        self.database.dead = True
        for pipe in self.pipes:
            pipe.cut()
        super().kill()


class Process(Owner):
    """One agent process with the real SDK in it."""

    def __init__(self, world: World, agent_id: int) -> None:
        super().__init__()
        self.agent_id = agent_id
        self.pipe: Pipe | None = None
        agent = Agent(f"agent-{agent_id}", concurrency=world.slots)
        agent.task("work")(world.handler)
        world.processes[str(id(self))] = self
        self.service = staying_connected.Service(agent.declaration, Server("http://sim", str(id(self))), str(agent_id))

    def kill(self) -> None:
        """What it has sent last is lost with it."""
        if self.pipe is not None:
            self.pipe.cut()
        super().kill()


@dataclass
class Said:
    """What one call of a client came to."""

    token: str
    n: int
    keyed: bool
    ids: list[int] = field(default_factory=list)


class World:
    """Everything by one seed."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.chance = random.Random(seed)
        self.loop = asyncio.get_running_loop()
        assert isinstance(self.loop, VirtualTimeLoop)
        self.loop.set_task_factory(self._owned)
        self.model = QueueModel(self.loop.time)
        self.weather = Weather(self.chance)
        self._hash = hashlib.sha256()
        self.server = ModelServer(self.model, self.weather, self.trace)
        self.calm = self.chance.random() < 0.2
        self.shared = not self.calm and self.chance.random() < 0.5
        self.server.pooled = self.shared and self.chance.random() < 0.2
        self.slots = 20 if self.calm else self.chance.randint(1, 4)
        self.agents = self.chance.randint(1, 3)
        self.n_calls = self.chance.randint(4, 9)
        self.processes: dict[str, Process] = {}
        self.by_agent: dict[int, Process] = {}
        self.replicas: list[Replica] = []
        self.going: set[asyncio.Task[None]] = set()
        self.said: list[Said] = []
        self.reported: set[tuple[int, int]] = set()
        self.duplicate = 0.0 if self.calm else 0.1
        self.healed = False

    def now(self) -> float:
        """Virtual seconds."""
        return self.loop.time()

    def trace(self, what: str) -> None:
        """Add to what two runs of one seed are compared by."""
        self._hash.update(f"{self.loop.time():.9f} {what}\n".encode())

    @property
    def digest(self) -> str:
        """The hash of everything that was done in the database, and when."""
        return self._hash.hexdigest()[:16]

    def new_uuid(self) -> uuid.UUID:
        """A fresh name."""
        return uuid.UUID(int=self.chance.getrandbits(128), version=4)

    def _owned(self, loop: Any, work: Any, **options: Any) -> asyncio.Task[Any]:
        task = self.loop._new_task(loop, work, **options)
        owner = (options.get("context") or contextvars.copy_context()).get(OWNER)
        if owner is not None:
            owner.tasks.add(task)
            task.add_done_callback(owner.tasks.discard)
            if not owner.alive:
                task.cancel()
        return task

    # -- agents ---------------------------------------------------------------------------------------------------

    async def handler(self, ctx: Any, how: str = "ok", seconds: float = 0.0) -> dict[str, str]:
        """The work of every agent."""
        if how == "checkpoint":
            await ctx.checkpoint({"attempt": ctx.attempt})
        if how == "hang" and ctx.attempt == 1:
            await asyncio.sleep(1000)
        if seconds:
            await asyncio.sleep(seconds)
        if how == "fail" or (how == "flaky" and ctx.attempt == 1):
            raise RuntimeError("it broke")
        if how == "final":
            raise TaskFailed("it will never work", retryable=False)
        self.reported.add((int(ctx.task_id), ctx.attempt))
        return {"said": f"{ctx.task_id}/{ctx.attempt}"}

    def begin_agent(self, agent_id: int) -> None:
        """Start a process of an agent."""
        process = Process(self, agent_id)
        self.by_agent[agent_id] = process
        process.start(self._serve(process), f"agent {agent_id}")

    async def _serve(self, process: Process) -> None:
        await process.service.run()
        # It was drained; whoever looks after processes starts another one.
        process.alive = False

    async def open_socket(self, server: Server, agent_id: str, *, within: float) -> Pipe:
        """Stands where the SDK opens its socket."""
        await asyncio.sleep(self.chance.uniform(0, 0.005))
        living = [replica for replica in self.replicas if replica.listens]
        if not living:
            raise Unreachable("nobody listens")
        replica, process = self.chance.choice(living), self.processes[server.token]
        pipe = process.pipe = Pipe(self.chance, self._watch, self.duplicate)
        replica.pipes.append(pipe)
        replica.start(pipe.serve(replica.door, agent_id), f"door {agent_id}")
        return pipe

    def _watch(self, text: str, _pipe: Any) -> None:
        """What is answered to an agent is committed."""
        frame = read(text)
        if frame.get("kind") == "settled":
            for item in frame["items"]:
                task = self.model.tasks.get(int(item["task"]))
                if item.get("code") is None and item["kind"] == "done":
                    ended = task is not None and task.attempts[item["attempt"] - 1].outcome == "completed"
                    self.require(ended, f"a result was answered before it was kept: {item}")

    # -- clients --------------------------------------------------------------------------------------------------

    def a_replica(self) -> Replica | None:
        """Any that listens."""
        living = [replica for replica in self.replicas if replica.listens]
        return self.chance.choice(living) if living else None

    async def call(self, work: Any, within: float = 15.0) -> Any:
        """Ask a replica; a call that is never answered breaks a promise. Raises Unavailable."""
        replica = self.a_replica()
        if replica is None:
            raise Unavailable("nobody listens")
        asked = replica.start(work(replica), "call")
        await asyncio.wait([asked], timeout=within)
        self.require(asked.done(), "a call was never answered")
        if asked.cancelled():
            raise Unavailable("the replica is gone")
        return asked.result()

    async def client(self, number: int) -> None:
        """Submit, and repeat what was not answered where a key makes that safe."""
        # Where nothing breaks, calls come in bursts, so that they meet looks that are under way.
        burst = self.chance.choice([0.1, 0.5, 0.9]) + self.chance.uniform(0.0, 0.02)
        await asyncio.sleep(burst if self.calm else self.chance.uniform(0.0, 5.0))
        keyed = self.chance.random() < 0.5
        n = self.chance.choice([1, 1, 1, 2, 4])
        said = Said(f"call-{number}", n, keyed)
        self.said.append(said)
        tasks = [self._new_task(said, index) for index in range(n)]
        while True:
            try:
                answered = await self.call(lambda replica: replica.dispatcher.submitter.submit(tasks))
                break
            except Unavailable:
                if not keyed:
                    return
                await asyncio.sleep(self.chance.uniform(0.05, 0.5))
        said.ids = [each.task_id for each in answered]
        for task_id in said.ids:
            self.require(task_id in self.model.tasks, f"task {task_id} was acknowledged and is not there")
        self.trace(f"acknowledged {said.ids}")
        if self.chance.random() < 0.5:
            await self._wait_for(said.ids[0])

    async def _wait_for(self, task_id: int) -> None:
        """A long poll."""

        async def poll(replica: Replica) -> str:
            until = self.now() + 5
            with replica.dispatcher.waiters.bell(task_id) as bell:
                while True:
                    row = await replica.dispatcher.get(task_id)
                    self.require(row is not None, f"task {task_id} was acknowledged and cannot be read")
                    if row is not None and (row["status"] in FINAL or self.now() >= until):
                        return str(row["status"])
                    if not replica.listens:
                        raise Unavailable("the replica goes down")
                    await replica.dispatcher.waiters.wait(bell, until - self.now())

        try:
            await self.call(poll)
        except Unavailable:
            return

    def _new_task(self, said: Said, index: int) -> NewTask:
        chance = self.chance
        if self.calm:
            how, seconds = chance.choice(["ok", "checkpoint"]), chance.choice([0.0, 0.05, 0.2])
        else:
            how = chance.choice(["ok", "ok", "ok", "checkpoint", "flaky", "fail", "final", "hang"])
            seconds = chance.choice([0.0, 0.0, 0.05, 0.5, 2.0])
        by_capability = chance.random() < 0.4
        run_at = None
        if chance.random() < (0.4 if self.calm else 0.2):
            run_at = self.model.at(self.now() + chance.uniform(0.0, 0.05 if self.calm else 3.0))
        return NewTask(
            "work",
            json.dumps({"how": how, "seconds": seconds}),
            said.token,
            agent_id=None if by_capability else chance.randint(1, self.agents),
            capability="work" if by_capability else None,
            priority=chance.randint(1, 10),
            max_retries=chance.choice([0, 1, 2]),
            timeout_ms=3_000 if how == "hang" else LONG,
            run_at=run_at,
            idempotency_key=f"{said.token}/{index}" if said.keyed else None,
            request_hash=said.token.encode() if said.keyed else None,
        )

    async def cancel_one(self) -> None:
        """Cancel any task."""
        numbers = [task.id for task in self.model.tasks.values() if task.status not in FINAL]
        if not numbers:
            return
        number = self.chance.choice(numbers)

        async def cancel(replica: Replica) -> None:
            async with replica.database.session() as connection:
                done = await connection.do(f"cancel {number}", lambda: self.model.cancel(number))
            if done is not None:
                replica.dispatcher.cancelled(number, *done)

        await self._try(cancel)

    async def redrive_one(self) -> None:
        """Redrive any failed task."""
        numbers = [task.id for task in self.model.tasks.values() if task.status is TaskStatus.FAILED]
        if not numbers:
            return
        number = self.chance.choice(numbers)

        async def redrive(replica: Replica) -> None:
            async with replica.database.session() as connection:
                lane = await connection.do(f"redrive {number}", lambda: self.model.redrive(number))
            if lane is not None:
                replica.dispatcher.mark(lane)

        await self._try(redrive)

    async def _try(self, work: Any) -> None:
        try:
            await self.call(work)
        except Unavailable:
            self.trace("not answered")

    # -- promises -------------------------------------------------------------------------------------------------

    def require(self, held: object, broken: str) -> None:
        """Raise Violation, with what is needed to see it again; it is remembered, for who is asked may swallow it."""
        if not held:
            self.loop.problems.append(broken)
            raise Violation(f"seed {self.seed}, at {self.now():.3f} s: {broken}")

    def require_no_problems(self) -> None:
        """Raise Violation where an error was logged, or heard by nobody."""
        self.require(not self.loop.problems, f"errors: {self.loop.problems}")

    def stuck(self) -> list[str]:
        """The tasks that are not final, with what is known of them."""
        return [str(task) for task in self.model.tasks.values() if task.status not in FINAL]

    def unbalanced(self) -> list[str]:
        """Sessions whose credit and held tasks are not their slots though nothing is to be done."""
        wrong = []
        for replica in self.replicas:
            for session in replica.dispatcher.floor if replica.alive else ():
                known = self.model.held_by([session.instance_id])[session.instance_id]
                balanced = session.credit == session.slots and not session.held and not known
                if not balanced and not session.gone:
                    wrong.append(f"{session.slots} slots, credit {session.credit}, held {session.held}, known {known}")
        for agent_id, process in self.by_agent.items():
            held = process.service._worker.holding()
            if held:
                wrong.append(f"agent {agent_id} works on {held} still")
        return wrong

    def check_end(self) -> None:
        """Everything that must hold when all is done."""
        self.model.check()
        by_call: dict[str, list[int]] = {}
        for task in self.model.tasks.values():
            by_call.setdefault(task.new.created_by, []).append(task.id)
            if task.status is TaskStatus.COMPLETED:
                said = json.loads(task.result or "{}")["said"]
                self.require(said == f"{task.id}/{task.attempt}", f"task {task.id} has the result of {said}")
                self.require((task.id, task.attempt) in self.reported, f"nobody reported task {task.id}")
            if self.calm and task.attempts:
                waited = task.attempts[0].claimed_at - max(task.run_at, task.created_at)
                self.require(waited < 0.3, f"task {task.id} waited {waited:.3f} s for an idle agent")
        for said in self.said:
            made = sorted(by_call.get(said.token, []))
            self.require(len(made) in (0, said.n), f"{said.token} asked for {said.n} tasks and there are {made}")
            if said.ids:
                self.require(sorted(said.ids) == made, f"{said.token} was told {said.ids} and there are {made}")
        self.require_no_problems()


@contextmanager
def _sealed(world: World) -> Iterator[None]:
    """Replace what would reach outside: the socket, fresh names, jitter, and hashes that depend on addresses."""
    spread = world.chance
    with (
        on_the_model(),
        mock.patch.object(staying_connected, "open_socket", world.open_socket),
        mock.patch.object(
            staying_connected, "full_jitter", lambda step, *, base, cap: spread.uniform(0, min(base * 2.0**step, cap))
        ),
        mock.patch.object(worker, "new_uuid", lambda: str(world.new_uuid())),
        mock.patch.object(Session, "__hash__", lambda session: hash(session.instance_id), create=True),
    ):
        yield


def run_seed(seed: int) -> str:
    """Live through one seed; returns the hash of its trace. Raises Violation or Deadlock."""
    from tests.support.nemesis import live

    async def main() -> str:
        world = World(seed)
        with _sealed(world):
            try:
                await live(world)
            except Refusal as refusal:
                raise Violation(f"seed {seed}: a client was refused: {refusal.message}") from refusal
            return world.digest

    return run_virtually(main(), seed)


def quiet() -> None:
    """Log nothing, for thousands of seeds say the same; what is logged as an error is a problem of its life."""
    logging.disable(logging.CRITICAL)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR), processors=[_to_problems])


def _to_problems(_logger: Any, _level: str, event: Any) -> Any:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    error = event.get("exc_info")
    error = sys.exc_info()[1] if error is True else error
    loop.problems.append(f"{event['event']}: {error!r}")
    raise structlog.DropEvent
