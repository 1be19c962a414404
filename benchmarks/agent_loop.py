"""How many no-op tasks a second one SDK agent process runs, against a fake server in another process.

    python benchmarks/agent_loop.py [--tasks 300000] [--frame 100] [--slots 1000] [--kind noop|sleep|thread]

Prints tasks per second of wall time and microseconds of the agent's CPU per task.
"""

import argparse
import asyncio
import multiprocessing
import time
from multiprocessing.connection import Connection as Pipe
from typing import Any

import msgspec
from websockets.asyncio.server import ServerConnection, serve

from workstation_sdk import Agent, Context, SyncContext
from workstation_sdk.loops import new_event_loop
from workstation_sdk.protocol import (
    Claim,
    Done,
    Settled,
    SettledItem,
    Tasks,
    Welcome,
    decode_agent,
    encode,
)

PAYLOAD = {"url": "https://example.com/page", "depth": 3, "note": "x" * 140}

agent = Agent("bench")


@agent.task
async def noop(ctx: Context, url: str, depth: int = 1) -> dict[str, object]:
    """Return at once."""
    return {"url": url, "depth": depth}


@agent.task
async def sleep(ctx: Context, url: str) -> None:
    """Wait for one turn of the loop."""
    await asyncio.sleep(0)


@agent.task
def thread(ctx: SyncContext, url: str) -> None:
    """Return at once, from a thread."""


class Load:
    """Sends all tasks as slots come free, settles what is done, and counts."""

    def __init__(self, options: argparse.Namespace, pipe: Pipe) -> None:
        self.options = options
        self.pipe = pipe
        self.sent = 0
        self.done = 0

    async def serve(self, socket: ServerConnection) -> None:
        """Play the server for one agent."""
        hello = decode_agent(await socket.recv(decode=False))
        await socket.send(encode(Welcome("1", self.options.slots, instance=hello.instance)), text=True)  # type: ignore[union-attr]
        self.pipe.send("go")
        await self.send_up_to(socket, self.options.slots)
        while self.done < self.options.tasks:
            frame = decode_agent(await socket.recv(decode=False))
            if isinstance(frame, Done):
                self.done += len(frame.items)
                answers = [SettledItem(item.task, item.attempt, "done", "completed") for item in frame.items]
                await socket.send(encode(Settled(answers)), text=True)
                await self.send_up_to(socket, self.done + self.options.slots)
        self.pipe.send("done")
        await socket.wait_closed()

    async def send_up_to(self, socket: ServerConnection, count: int) -> None:
        """Send whole frames while there is room for them."""
        payload = msgspec.Raw(encode(PAYLOAD))
        while self.sent + self.options.frame <= min(count, self.options.tasks):
            numbers = range(self.sent, self.sent + self.options.frame)
            deadline = "2030-01-01T00:00:00Z"
            claims = [Claim(str(n), self.options.kind, 1, payload, 5, 30_000, deadline) for n in numbers]
            await socket.send(encode(Tasks(claims)), text=True)
            self.sent += len(claims)


def run_server(options: argparse.Namespace, pipe: Pipe) -> None:
    """Serve until every task is done; the port, `go` and `done` go through the pipe."""

    async def main() -> None:
        load = Load(options, pipe)
        async with serve(load.serve, "127.0.0.1", 0, compression=None, max_size=None) as server:
            pipe.send(next(iter(server.sockets)).getsockname()[1])
            await asyncio.Event().wait()

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(main())


async def measure(port: int, pipe: Pipe) -> tuple[float, float]:
    """Return wall and CPU seconds from the first task to the last report."""
    loop = asyncio.get_running_loop()
    serving = asyncio.create_task(agent.serve(url=f"http://127.0.0.1:{port}", token="bench", agent_id="1"))
    await loop.run_in_executor(None, pipe.recv)
    wall, cpu = time.perf_counter(), time.process_time()
    await loop.run_in_executor(None, pipe.recv)
    spent = time.perf_counter() - wall, time.process_time() - cpu
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    return spent


def main() -> None:
    """Run once and print one line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=300_000)
    parser.add_argument("--frame", type=int, default=100)
    parser.add_argument("--slots", type=int, default=1_000)
    parser.add_argument("--kind", choices=sorted(agent.declaration.handlers), default="noop")
    parser.add_argument("--profile", action="store_true", help="print where the agent's time goes")
    options = parser.parse_args()
    ours, theirs = multiprocessing.Pipe()
    server: Any = multiprocessing.get_context("spawn").Process(target=run_server, args=(options, theirs))
    server.start()
    port = ours.recv()
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        if options.profile:
            import cProfile
            import pstats

            with cProfile.Profile() as profile:
                wall, cpu = runner.run(measure(port, ours))
            pstats.Stats(profile).sort_stats("tottime").print_stats(18)
        else:
            wall, cpu = runner.run(measure(port, ours))
    server.terminate()
    server.join()
    tasks = options.tasks
    print(
        f"{options.kind} slots={options.slots} frame={options.frame}: "
        f"{tasks / wall:,.0f} tasks/s, {cpu / tasks * 1e6:.1f} µs of CPU a task"
    )


if __name__ == "__main__":
    main()
