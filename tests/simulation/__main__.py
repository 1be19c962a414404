"""python -m tests.simulation: live through many seeds, or through one again."""

from __future__ import annotations

import argparse
import gc
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from tests.support.planted import PLANTED
from tests.support.simulated_world import quiet, run_seed

REPLAY = "PYTHONPATH=. .venv/bin/python -m tests.simulation --base {seed} --count 1"
CHUNK = 25


def live_through(seeds: range, plant: str | None) -> list[tuple[int, str, str]]:
    """(seed, hash of its trace, what was broken or nothing) for each, until the first that breaks."""
    quiet()
    # What a life leaves behind is small, and collecting it all the time is not.
    gc.collect()
    gc.disable()
    planted: AbstractContextManager[Any] = PLANTED[plant]() if plant else nullcontext()
    lived = []
    with planted:
        for seed in seeds:
            try:
                lived.append((seed, run_seed(seed), ""))
            except Exception as error:  # noqa: BLE001 - whatever ends a life is what was looked for
                lived.append((seed, "", f"{type(error).__name__}: {error}"))
                break
    return lived


def main() -> int:
    """Exit code 0 when every promise was kept, 1 when one was broken."""
    if os.environ.get("PYTHONHASHSEED") != "0":
        # Sets of strings must have the same order in every run.
        os.execve(sys.executable, [sys.executable, "-m", "tests.simulation", *sys.argv[1:]], _fixed())
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--base", type=int, default=1, help="the first seed")
    parser.add_argument("--count", type=int, default=200, help="how many seeds")
    parser.add_argument("--workers", type=int, default=1, help="processes at once")
    parser.add_argument("--plant", choices=sorted(PLANTED), help="plant this bug: it must be found")
    parser.add_argument("--hashes", action="store_true", help="print the hash of each trace")
    asked = parser.parse_args()
    began = time.monotonic()
    print(f"simulation: seeds {asked.base} to {asked.base + asked.count - 1}", flush=True)
    end = asked.base + asked.count
    chunks = [range(start, min(start + CHUNK, end)) for start in range(asked.base, end, CHUNK)]
    lived, broken = 0, None
    for results in _in_turn(chunks, asked.plant, asked.workers):
        lived += len(results)
        if asked.hashes:
            print(*(f"{seed} {digest}" for seed, digest, _ in results), sep="\n")
        broken = next((result for result in results if result[2]), None)
        if broken is not None:
            break
    print(f"{lived} seeds in {time.monotonic() - began:.1f} s")
    if broken is None:
        return 0
    print(f"seed {broken[0]} failed: {broken[2]}\nagain: {REPLAY.format(seed=broken[0])}", flush=True)
    return 1


def _in_turn(chunks: list[range], plant: str | None, workers: int) -> Any:
    if workers == 1:
        yield from (live_through(chunk, plant) for chunk in chunks)
        return
    with ProcessPoolExecutor(workers) as pool:
        try:
            yield from pool.map(live_through, chunks, [plant] * len(chunks))
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _fixed() -> dict[str, str]:
    return {**os.environ, "PYTHONHASHSEED": "0"}


if __name__ == "__main__":
    sys.exit(main())
