"""`python -m tests.chaos`: run the fault suite.

Exit code 0: all invariants hold; 1: one is broken; 2: the harness is in trouble.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import traceback
from pathlib import Path

from tests.chaos.faults import CRASH_POINTS, FAULTS
from tests.chaos.plan import LOADS, Plan, make_plan
from tests.chaos.report import markdown, summary
from tests.chaos.run import Choices, Result, run
from tests.support.live_server import ROOT

LONG_SECONDS = 85.0
SHORT_SECONDS = 30.0


def main() -> int:
    """Run what the arguments say."""
    options = _arguments()
    plans = [_plan(seed, options) for seed in _seeds(options)]
    if options.plan:
        print("\n".join(plan.as_json() for plan in plans))
        return 0
    results: list[Result] = []
    trouble = False
    for plan in plans:
        print(f"seed {plan.seed}: {plan.replicas} replica(s), {plan.seconds:.0f} s, load {plan.load}", flush=True)
        choices = Choices(options.source, options.slack, tuple(options.crash_points), None, _kept(options, plan))
        try:
            results.append(asyncio.run(run(plan, choices)))
        except Exception:  # noqa: BLE001 - whatever it is, the other seeds are run, and the exit code tells
            traceback.print_exc()
            trouble = True
            continue
        print(summary(results[-1]), flush=True)
        if options.report:
            options.report.write_text(markdown(results))
    if trouble:
        return 2
    return 0 if all(result.holds for result in results) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description="The fault suite.")
    parser.add_argument("--seed", type=int, help="one seed; none: a random one, which is printed")
    parser.add_argument("--seeds", metavar="A-B", help="the long form: these seeds, alternately with 1 and 2 replicas")
    parser.add_argument("--seconds", type=float, help=f"of load: {SHORT_SECONDS:.0f}, with --seeds {LONG_SECONDS:.0f}")
    parser.add_argument("--replicas", type=int, choices=(1, 2), help="orchestrators [default: by the seed]")
    parser.add_argument("--load", choices=LOADS, help="what clients send [default: mixed, with --seeds long]")
    parser.add_argument("--faults", type=_faults, help=f"only these, in turn: {', '.join(FAULTS)}; or none")
    parser.add_argument(
        "--crash-points", type=_words, default=CRASH_POINTS, help="where orchestrator-crash-point kills [default: any]"
    )
    parser.add_argument("--source", type=Path, default=ROOT, help="the tree whose src and sdk/src are run")
    parser.add_argument("--slack", type=float, default=2.0, help="seconds a busy machine may add to each bound")
    parser.add_argument("--report", type=Path, help="write a report here (markdown)")
    parser.add_argument("--keep", type=Path, help="copy records and logs into a folder for each seed here")
    parser.add_argument("--plan", action="store_true", help="print the plan and do nothing")
    return parser.parse_args()


def _words(text: str) -> list[str]:
    return [word for word in text.split(",") if word]


def _faults(text: str) -> list[str]:
    names = [] if text == "none" else _words(text)
    unknown = set(names) - FAULTS.keys()
    if unknown:
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(FAULTS)}")
    return names


def _seeds(options: argparse.Namespace) -> list[int]:
    if options.seeds:
        first, _, last = options.seeds.partition("-")
        return list(range(int(first), int(last or first) + 1))
    return [options.seed if options.seed is not None else random.SystemRandom().randrange(1_000_000)]


def _plan(seed: int, options: argparse.Namespace) -> Plan:
    seconds = options.seconds or (LONG_SECONDS if options.seeds else SHORT_SECONDS)
    load = options.load or ("long" if options.seeds else "mixed")
    return make_plan(seed, seconds, options.replicas or 1 + (seed + 1) % 2, load, options.faults)


def _kept(options: argparse.Namespace, plan: Plan) -> Path | None:
    return options.keep / f"seed-{plan.seed}" if options.keep else None


if __name__ == "__main__":
    sys.exit(main())
