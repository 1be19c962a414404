"""One life of a simulated world: load and faults, then all is healed, everything must end, and promises are checked."""

from __future__ import annotations

import asyncio

from tests.support.simulated_world import Replica, World

CHAOS_SECONDS = 6.0
RECOVERY_SECONDS = 90.0
BALANCE_SECONDS = 25.0


async def live(world: World) -> None:
    """From the start to the last check."""
    for number in range(1, world.agents + 1):
        world.model.add_agent(number, ["work"])
    for _ in range(2 if world.shared else 1):
        await begin_replica(world)
    for number in range(1, world.agents + 1):
        world.begin_agent(number)
    if world.calm:
        # Everybody is there and was looked at.
        await asyncio.sleep(2.0)
    clients = [asyncio.create_task(world.client(number)) for number in range(world.n_calls)]
    watchdog = asyncio.create_task(keep_agents(world))
    if not world.calm:
        await chaos(world)
    await heal(world)
    await asyncio.gather(*clients, *world.going)
    await until_final(world)
    await until_balanced(world)
    watchdog.cancel()
    world.check_end()


async def begin_replica(world: World) -> None:
    """Start a replica that knows the registry before it serves."""
    replica = Replica(world)
    world.replicas.append(replica)
    replica.begin()
    await asyncio.sleep(0.01)


async def keep_agents(world: World) -> None:
    """Start agent processes again that have ended."""
    while True:
        await asyncio.sleep(world.chance.uniform(0.1, 1.0))
        for number, process in world.by_agent.items():
            if not process.alive and world.model.agents[number].desired == "running":
                world.begin_agent(number)


async def chaos(world: World) -> None:
    """Faults until the time is over."""
    chance, weather = world.chance, world.weather
    weather.cut_before, weather.cut_after = chance.choice([0.0, 0.01, 0.05]), chance.choice([0.0, 0.01, 0.05])
    weather.slow, weather.deaf = chance.choice([0.0, 0.01, 0.03]), chance.choice([0.0, 0.5, 1.0])
    until = world.now() + CHAOS_SECONDS
    while world.now() < until:
        await asyncio.sleep(chance.uniform(0.05, 1.2))
        world.require_no_problems()
        fault = chance.choice(FAULTS)
        world.trace(fault.__name__)
        await fault(world)


async def cut_connection(world: World) -> None:
    """A socket is lost."""
    pipe = world.chance.choice(list(world.by_agent.values())).pipe
    if pipe is not None:
        pipe.cut()


async def freeze_agent(world: World) -> None:
    """Nothing is heard of an agent for a while, perhaps for longer than its lease."""
    pipe = world.chance.choice(list(world.by_agent.values())).pipe
    if pipe is not None:
        pipe.freeze(world.chance.choice([0.5, 4.0, 18.0]))


async def kill_agent(world: World) -> None:
    """An agent process dies."""
    world.chance.choice(list(world.by_agent.values())).kill()


async def drain_agent(world: World) -> None:
    """An agent is asked to restart."""
    process = world.chance.choice(list(world.by_agent.values()))
    if process.alive:
        process.service.drain("restart")


async def stop_agent(world: World) -> None:
    """An agent is stopped in the registry, or started again."""
    number = world.chance.randint(1, world.agents)
    agent = world.model.agents[number]
    agent.desired = "stopped" if agent.desired == "running" else "running"
    world.model.touch(number)


async def change_health(world: World) -> None:
    """An agent is degraded or unhealthy for a while."""
    number = world.chance.randint(1, world.agents)
    world.model.agents[number].health = world.chance.choice(["healthy", "degraded", "unhealthy"])
    world.model.touch(number)


async def lose_database(world: World) -> None:
    """The database is away."""
    world.weather.away = True
    world.server.cut_listeners()
    await asyncio.sleep(world.chance.choice([0.1, 1.0, 2.5]))
    world.weather.away = False


async def kill_replica(world: World) -> None:
    """A replica dies and is started again."""
    replica = world.a_replica()
    if replica is not None:
        replica.kill()
        await asyncio.sleep(world.chance.uniform(0.1, 2.0))
        await begin_replica(world)


async def restart_replica(world: World) -> None:
    """A replica is asked to go down; the next one is there before it, or after."""
    replica = world.a_replica()
    if replica is None or replica.readiness.draining:
        return
    before = world.chance.random() < 0.5
    if before:
        await begin_replica(world)
    going = asyncio.create_task(replica.go_down(world.chance.choice([0.5, 3.0, 10.0])))
    world.going.add(going)
    if not before:
        await asyncio.wait([going])
        await begin_replica(world)


async def cancel_task(world: World) -> None:
    """Somebody cancels."""
    await world.cancel_one()


async def redrive_task(world: World) -> None:
    """Somebody redrives."""
    await world.redrive_one()


FAULTS = (
    cut_connection,
    cut_connection,
    freeze_agent,
    kill_agent,
    drain_agent,
    stop_agent,
    change_health,
    lose_database,
    kill_replica,
    restart_replica,
    cancel_task,
    cancel_task,
    redrive_task,
)


async def heal(world: World) -> None:
    """No faults from now on, and every agent is meant to run."""
    world.weather.clear()
    world.healed = True
    for number, agent in world.model.agents.items():
        agent.desired, agent.health = "running", "healthy"
        world.model.touch(number)


async def until_final(world: World) -> None:
    """With an able agent there, every task ends."""
    end = world.now() + RECOVERY_SECONDS
    while stuck := world.stuck():
        world.require_no_problems()
        world.require(world.now() < end, f"not final after {RECOVERY_SECONDS:.0f} s without faults: {stuck}")
        await asyncio.sleep(0.25)


async def until_balanced(world: World) -> None:
    """When nothing is to be done, all slots are free and everybody knows."""
    end = world.now() + BALANCE_SECONDS
    while wrong := world.unbalanced():
        world.require(world.now() < end, f"credit was lost: {wrong}")
        await asyncio.sleep(0.25)
