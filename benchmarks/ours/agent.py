"""The benchmark's agent process on the public SDK: `agent.py count TASKS` or `agent.py stamp`."""

from __future__ import annotations

import sys

from benchmarks.peers.program import counter, report, stamp
from workstation_sdk import Agent, Context

CONCURRENCY = 500


def main(mode: str, tasks: int) -> None:
    """Serves no-op tasks until it is told to stop; reports the first and the last begun, or each."""
    agent = Agent("bench", concurrency=CONCURRENCY)
    handle = stamp if mode == "stamp" else counter(tasks)

    @agent.task("noop")
    async def noop(ctx: Context, n: int, pad: str) -> None:
        handle({"n": n})

    report("starting")
    agent.run()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 0)
