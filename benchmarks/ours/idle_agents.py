"""Many connected agents that only beat: one JSON line on standard input gives port, token and agent ids."""

from __future__ import annotations

import asyncio
import json
import random
import resource
import sys
import uuid
from typing import Any

import uvloop
from websockets.asyncio.client import ClientConnection, connect

from benchmarks.peers.program import report

AT_ONCE = 50


async def main(order: dict[str, Any]) -> None:
    """Connects them all, reports `ready`, and beats until it is stopped."""
    raise_file_limit()
    gate, spread = asyncio.Semaphore(AT_ONCE), random.Random(7)
    connected = [asyncio.create_task(open_one(order, agent, gate)) for agent in order["agent_ids"]]
    sockets = await asyncio.gather(*connected)
    report("ready")
    async with asyncio.TaskGroup() as group:
        for socket, every in sockets:
            group.create_task(beat(socket, every, spread.random()))
            group.create_task(read(socket))


def raise_file_limit() -> None:
    """As many open files as this user may have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def open_one(order: dict[str, Any], agent: str, gate: asyncio.Semaphore) -> tuple[ClientConnection, float]:
    """One agent's socket after its welcome, and its beat interval in seconds."""
    async with gate:
        socket = await connect(
            f"ws://127.0.0.1:{order['port']}/api/agents/{agent}/connect",
            additional_headers={"Authorization": f"Bearer {order['token']}"},
            ping_interval=None,
        )
        hello = {
            "kind": "hello",
            "instance": str(uuid.uuid4()),
            "slots": 10,
            "tasks": {"noop": None},
            "holding": [],
        }
        await socket.send(json.dumps(hello))
        welcome = json.loads(await socket.recv())
    if welcome["kind"] != "welcome":
        raise RuntimeError(f"agent {agent} was answered {welcome}")
    return socket, welcome["heartbeat_ms"] / 1000


async def beat(socket: ClientConnection, every: float, phase: float) -> None:
    """A heartbeat each interval, the agents spread over it."""
    await asyncio.sleep(every * phase)
    while True:
        await socket.send('{"kind":"heartbeat","healthStatus":"healthy","holding":[]}')
        await asyncio.sleep(every)


async def read(socket: ClientConnection) -> None:
    """Takes whatever the server sends, so that its buffers never fill."""
    async for _ in socket:
        continue


if __name__ == "__main__":
    uvloop.run(main(json.loads(sys.stdin.readline())))
