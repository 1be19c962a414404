"""`python -m benchmarks`: one interleaved run (A B C A B C …) of everything that this machine can run."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
import traceback
from pathlib import Path

from benchmarks.limit.participant import PostgresLimit
from benchmarks.machine import Neighbours, machine
from benchmarks.ours.participant import Workstation
from benchmarks.peers.table import peers
from benchmarks.postgres import Postgres, running_postgres
from benchmarks.processes import ROOT
from benchmarks.report import markdown
from benchmarks.results import Results
from benchmarks.sample import Effort, Participant

LATEST = ROOT / "benchmarks/results/latest.md"
FULL_ROUNDS, FULL_SECONDS = 3, 20 * 60
QUICK_ROUNDS, QUICK_SECONDS, QUICK_SCALE = 1, 4 * 60, 0.25
TURN_SECONDS = 240


def participants(postgres: Postgres) -> list[Participant]:
    """Everything that can be measured, in the order of a round."""
    return [PostgresLimit(postgres), *peers(postgres), Workstation()]


def arguments() -> argparse.Namespace:
    """The command line; `rounds` is filled in."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", metavar="NAMES", help="comma list of participants, for example pgqueuer,workstation")
    parser.add_argument("--quick", action="store_true", help="a quarter of the work, one round, under 4 minutes")
    parser.add_argument("--rounds", type=int, metavar="N", help=f"rounds (default {FULL_ROUNDS}, quick {QUICK_ROUNDS})")
    parser.add_argument("--out", type=Path, default=LATEST, metavar="FILE", help="where the Markdown report goes")
    asked = parser.parse_args()
    asked.rounds = asked.rounds or (QUICK_ROUNDS if asked.quick else FULL_ROUNDS)
    return asked


async def main(asked: argparse.Namespace) -> int:
    """Runs the rounds, writes the report; returns the exit code: 1 when one failed or none could run."""
    results = Results(machine())
    async with running_postgres() as postgres:
        ready = await prepared(chosen(participants(postgres), asked.only), results)
        if not ready:
            return 1
        started, neighbours = time.monotonic(), Neighbours()
        failed = await run_rounds(ready, results, asked)
        results.others_percent, results.stolen_percent = neighbours.shares()
        results.seconds = time.monotonic() - started
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(markdown(results))
    results.write_lines(asked.out.with_suffix(".jsonl"))
    print(markdown(results))
    return 1 if failed else 0


def chosen(everyone: list[Participant], only: str | None) -> list[Participant]:
    """Those that --only names, or all. Ends the program when it names one that does not exist."""
    if only is None:
        return everyone
    names = set(only.split(","))
    if unknown := names - {participant.name for participant in everyone}:
        known = ", ".join(participant.name for participant in everyone)
        sys.exit(f"--only names {', '.join(sorted(unknown))}; there are: {known}")
    return [participant for participant in everyone if participant.name in names]


async def prepared(wanted: list[Participant], results: Results) -> list[Participant]:
    """Those that can run here; the reasons of the others go into the results."""
    ready = []
    for participant in wanted:
        if reason := await participant.prepare():
            results.absent[participant.name] = reason
            print(f"not measured: {participant.name}: {reason}", flush=True)
            continue
        results.versions[participant.name] = await participant.version()
        results.notes[participant.name] = participant.note
        ready.append(participant)
    return ready


async def run_rounds(ready: list[Participant], results: Results, asked: argparse.Namespace) -> set[str]:
    """Takes turns until the rounds or the time are used up; returns who failed."""
    failed: set[str] = set()
    limit, begun, round_seconds = QUICK_SECONDS if asked.quick else FULL_SECONDS, time.monotonic(), 0.0
    for number in range(asked.rounds):
        round_begun = time.monotonic()
        if round_begun - begun + round_seconds > limit:
            print(f"stopping after {number} rounds: another would take longer than {limit} s in all", flush=True)
            break
        effort = Effort(QUICK_SCALE if asked.quick else 1.0, first=number == 0)
        for participant in ready:
            if participant.name not in failed and not await took_turn(participant, effort, results, number):
                failed.add(participant.name)
        round_seconds = time.monotonic() - round_begun
    return failed


async def took_turn(participant: Participant, effort: Effort, results: Results, number: int) -> bool:
    """One participant's turn; false when it failed, its error printed and in the report."""
    begun = time.monotonic()
    try:
        async with asyncio.timeout(TURN_SECONDS):
            results.add(participant.name, await participant.measure(effort))
    except Exception as error:  # noqa: BLE001 - one participant's failure must not lose the others' numbers
        traceback.print_exc()
        results.absent[participant.name] = f"It failed in round {number + 1}: {error or type(error).__name__}"
        return False
    print(f"round {number + 1}: {participant.name} took {time.monotonic() - begun:.0f} s", flush=True)
    return True


if __name__ == "__main__":
    sys.exit(asyncio.run(main(arguments())))
