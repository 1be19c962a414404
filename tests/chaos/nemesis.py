"""The nemesis: breaks things as the plan says, and mends them again."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable

import asyncpg
from tests.chaos.faults import LOST_ANSWERS
from tests.chaos.plan import PlannedFault
from tests.chaos.processes import AgentKeeper, Replica
from tests.chaos.proxy import Proxy
from tests.chaos.recorder import Recorder
from tests.chaos.world import World
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

READY_WITHIN = 120.0
HEARTBEAT_SECONDS = 2.0


class Skipped(Exception):
    """This fault cannot be had on this machine, or not now: one sentence that says why."""


class Nemesis:
    """Carries out the faults of a plan, each at its time."""

    def __init__(self, world: World, record: Recorder) -> None:
        self._world = world
        self._record = record
        self._faults: dict[str, Callable[[PlannedFault], Awaitable[None]]] = {
            "orchestrator-kill": self._kill_orchestrator,
            "orchestrator-crash-point": self._arm_crash_point,
            "commit-answers-lost": self._lose_answers,
            "orchestrator-freeze": self._freeze_orchestrator,
            "orchestrator-terminate": self._terminate_orchestrator,
            "backend-kill": self._kill_backend,
            "postgres-restart": self._restart_postgres,
            "postgres-kill": self._kill_postgres,
            "postgres-stop": self._stop_postgres,
            "postgres-full-disk": self._fill_disk,
            "database-cut": self._cut_database,
            "database-black-hole": self._swallow_database,
            "replica-down": self._hold_replica_down,
            "replica-freeze": self._freeze_orchestrator,
            "agent-kill": self._kill_agent,
            "agent-freeze": self._freeze_agent,
            "agent-crash-loop": self._crash_agent_again_and_again,
            "slow-consumer": self._consume_slowly,
            "reconnect-herd": self._cut_agents,
            "client-cut": self._cut_clients,
        }

    async def run(self, faults: tuple[PlannedFault, ...]) -> None:
        """Carry out all faults; returns when the last is mended."""
        began = time.monotonic()
        async with asyncio.TaskGroup() as all_of_them:
            for fault in faults:
                await asyncio.sleep(began + fault.at - time.monotonic())
                all_of_them.create_task(self._carry_out(fault))

    async def _carry_out(self, fault: PlannedFault) -> None:
        self._record("fault begins", name=fault.name, seconds=fault.seconds)
        try:
            await self._faults[fault.name](fault)
        except Skipped as why:
            self._record("fault skipped", name=fault.name, why=str(why))
        self._record("fault ends", name=fault.name)

    async def heal(self) -> None:
        """Mend everything, however it was left, and wait until the orchestrators are ready."""
        world = self._world
        world.postgres.free_disk()
        if not world.postgres.running:
            await world.postgres.start()
        for keeper in world.keepers:
            keeper.send(signal.SIGCONT)
        for replica in world.replicas:
            await replica.settle()
        for replica in world.replicas:
            await self._until_ready(replica)

    # -- orchestrators ----------------------------------------------------------------------------------------------

    def _replica(self, fault: PlannedFault) -> Replica:
        return self._world.replicas[fault.target % len(self._world.replicas)]

    async def _until_ready(self, replica: Replica) -> None:
        deadline = time.monotonic() + READY_WITHIN
        while time.monotonic() < deadline:
            if replica.server.running:
                try:
                    await replica.server.until_ready(READY_WITHIN)
                except AssertionError:
                    await asyncio.sleep(0.2)
                else:
                    return
            await asyncio.sleep(0.05)
        raise RuntimeError(f"orchestrator {replica.number} is not ready: {replica.server.output()[-2000:]}")

    async def _kill_orchestrator(self, fault: PlannedFault) -> None:
        replica = self._replica(fault)
        self._record("kills", replica=replica.number, pid=replica.server.pid)
        replica.server.send(signal.SIGKILL)
        await asyncio.sleep(0.2)
        await self._until_ready(replica)

    async def _arm_crash_point(self, fault: PlannedFault) -> None:
        """Have it started again with a fail point that kills it; the one after that is sound."""
        replica = self._replica(fault)
        points = self._world.crash_points
        armed = f"{points[fault.target % len(points)]}=kill@{1 + fault.target % 7}"
        armed_pid = await self._restart_with(replica, armed)
        deadline = time.monotonic() + fault.seconds
        while replica.server.running and replica.server.pid == armed_pid and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        reached = not replica.server.running or replica.server.pid != armed_pid
        self._record("crash point", point=armed, reached=reached)
        await self._until_ready(replica)

    async def _lose_answers(self, fault: PlannedFault) -> None:
        """For a while every tenth commit is done and not answered: its connection is cut."""
        replica = self._replica(fault)
        await self._restart_with(replica, LOST_ANSWERS)
        await asyncio.sleep(fault.seconds)
        replica.server.send(signal.SIGKILL)
        await asyncio.sleep(0.2)
        await self._until_ready(replica)

    async def _restart_with(self, replica: Replica, fail_points: str) -> int:
        """Kill it and have it started with fail points, and sound the next time; the number of its process."""
        self._record("arms", replica=replica.number, points=fail_points)
        replica.server.set_environment("WORKSTATION_FAIL_POINTS", fail_points)
        replica.server.send(signal.SIGKILL)
        await asyncio.sleep(0.2)
        await self._until_started(replica)
        replica.server.set_environment("WORKSTATION_FAIL_POINTS", None)
        pid = replica.server.pid
        # One that dies while it starts is started again, soundly.
        await self._until_ready(replica)
        return pid

    async def _until_started(self, replica: Replica) -> None:
        async with asyncio.timeout(READY_WITHIN):
            while not replica.server.running:
                await asyncio.sleep(0.02)

    async def _freeze_orchestrator(self, fault: PlannedFault) -> None:
        replica = self._replica(fault)
        replica.server.send(signal.SIGSTOP)
        try:
            await asyncio.sleep(fault.seconds)
        finally:
            replica.server.send(signal.SIGCONT)

    async def _terminate_orchestrator(self, fault: PlannedFault) -> None:
        replica = self._replica(fault)
        pid = replica.server.pid
        replica.server.send(signal.SIGTERM)
        began = time.monotonic()
        while replica.server.running and replica.server.pid == pid and time.monotonic() - began < 40:
            await asyncio.sleep(0.05)
        self._record("terminated", replica=replica.number, seconds=time.monotonic() - began)
        await self._until_ready(replica)

    async def _hold_replica_down(self, fault: PlannedFault) -> None:
        replica = self._replica(fault)
        replica.held_down = True
        replica.server.send(signal.SIGKILL)
        await asyncio.sleep(fault.seconds)
        replica.held_down = False
        await asyncio.sleep(0.5)
        await self._until_ready(replica)

    # -- the database -----------------------------------------------------------------------------------------------

    async def _kill_backend(self, fault: PlannedFault) -> None:
        sessions = await self._world.postgres.rows(
            "select pid, application_name from pg_stat_activity where application_name like 'workstation%' order by pid"
        )
        if not sessions:
            raise Skipped("no session is open")
        victim = sessions[fault.target % len(sessions)]
        self._record("ends session", application=victim["application_name"])
        await self._world.postgres.rows("select pg_terminate_backend($1)", victim["pid"])

    async def _restart_postgres(self, fault: PlannedFault) -> None:
        await self._world.postgres.stop()
        await self._world.postgres.start()

    async def _kill_postgres(self, fault: PlannedFault) -> None:
        await self._world.postgres.kill()
        await self._world.postgres.start()

    async def _stop_postgres(self, fault: PlannedFault) -> None:
        await self._world.postgres.stop()
        await asyncio.sleep(fault.seconds)
        await self._world.postgres.start()

    async def _fill_disk(self, fault: PlannedFault) -> None:
        postgres = self._world.postgres
        if not postgres.has_own_disk:
            raise Skipped("a small disk could not be mounted here (root may); the disk was NOT filled")
        deadline = time.monotonic() + fault.seconds
        try:
            while time.monotonic() < deadline:
                # PostgreSQL gives space back now and then, and must not find it.
                await asyncio.to_thread(postgres.fill_disk)
                await asyncio.sleep(0.5)
        finally:
            postgres.free_disk()
        if not postgres.running:
            self._record("PostgreSQL had stopped")
            await postgres.start()

    async def _cut_database(self, fault: PlannedFault) -> None:
        self._replica(fault).door.cut()

    async def _swallow_database(self, fault: PlannedFault) -> None:
        await self._swallow(self._replica(fault).door, fault.seconds)

    async def _swallow(self, door: Proxy, seconds: float) -> None:
        door.swallow()
        try:
            await asyncio.sleep(seconds)
        finally:
            door.heal()

    # -- agents and clients -----------------------------------------------------------------------------------------

    def _keeper(self, fault: PlannedFault) -> AgentKeeper:
        return self._world.keepers[fault.target % len(self._world.keepers)]

    async def _kill_agent(self, fault: PlannedFault) -> None:
        if fault.target % 5 == 4:
            await self._kill_supervised()
            return
        keeper = self._keeper(fault)
        self._record("agent hit", how="killed", name=keeper.name, pid=keeper.pid)
        keeper.send(signal.SIGKILL)

    async def _kill_supervised(self) -> None:
        try:
            pid = await self._world.supervised_pid()
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise Skipped(f"the database is away, so it is not known which process to kill ({error!r})") from error
        if pid is not None:
            self._record("agent hit", how="killed", name="supervised", pid=pid)
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                return

    async def _freeze_agent(self, fault: PlannedFault) -> None:
        keeper = self._keeper(fault)
        self._record("agent hit", how="frozen", name=keeper.name, pid=keeper.pid)
        keeper.send(signal.SIGSTOP)
        try:
            await asyncio.sleep(fault.seconds)
        finally:
            keeper.send(signal.SIGCONT)

    async def _crash_agent_again_and_again(self, fault: PlannedFault) -> None:
        keeper = self._keeper(fault)
        chance, deadline = random.Random(fault.target), time.monotonic() + fault.seconds
        while time.monotonic() < deadline:
            self._record("agent hit", how="killed", name=keeper.name, pid=keeper.pid)
            keeper.send(signal.SIGKILL)
            await asyncio.sleep(chance.uniform(0.5, 2.5))

    async def _consume_slowly(self, fault: PlannedFault) -> None:
        """An instance that says it lives, takes whatever it gets, and does not read its socket."""
        world = self._world
        instance = f"00000000-0000-4000-8000-{fault.target:012d}"
        url = f"ws://127.0.0.1:{world.agents_door.port}/api/agents/{world.agents['sdk']}/connect"
        headers = {"Authorization": f"Bearer {world.tokens['sdk']}"}
        deadline = time.monotonic() + fault.seconds
        self._record("agent hit", how="consumes slowly", instance=instance)
        try:
            async with asyncio.timeout(fault.seconds):
                async with connect(url, additional_headers=headers, max_queue=1, ping_interval=None) as socket:
                    await socket.send(json.dumps({"kind": "hello", "instance": instance, "slots": 40, "holding": []}))
                    while time.monotonic() < deadline:
                        # Each beat lists nothing, so that everything is sent once more.
                        await socket.send(json.dumps({"kind": "heartbeat", "holding": []}))
                        await asyncio.sleep(HEARTBEAT_SECONDS)
                    socket.transport.abort()
        except (OSError, TimeoutError, WebSocketException) as error:
            self._record("slow consumer left", why=repr(error))

    async def _cut_agents(self, fault: PlannedFault) -> None:
        self._record("agent hit", how="cut", links=self._world.agents_door.links)
        self._world.agents_door.cut()

    async def _cut_clients(self, fault: PlannedFault) -> None:
        self._world.clients_door.cut()
