"""`python -m tests.chaos.plants`: plant each bug, look who catches it. Exit code 0: all are, and controls are clean."""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.plants.plant import Options, Plant, Stale, copy_product, plant
from tests.chaos.plants.table import PLANTS
from tests.chaos.run import Choices, run
from tests.support.live_server import ROOT

LONGEST_SECONDS = 300
DRAIN_SECONDS = 75.0


@dataclass(frozen=True)
class Trial:
    """What became of one plant, or of a run without one. broken: invariants, or failed tests, with a sentence."""

    what: str
    broken: tuple[tuple[str, str], ...]
    seconds: float
    trouble: str | None = None


def main() -> int:
    """Run what the arguments say."""
    options = _arguments()
    chosen = [bug for bug in PLANTS if not options.only or bug.name in options.only]
    if unknown := set(options.only) - {bug.name for bug in PLANTS}:
        print(f"there is no plant {', '.join(sorted(unknown))}; there are {', '.join(bug.name for bug in PLANTS)}")
        return 2
    controls: dict[str, Trial] = {}
    rows: list[str] = []
    good = True
    for bug in chosen:
        setting = bug.test or str(bug.options)
        if not options.without_control and setting not in controls:
            controls[setting] = _try(None, bug)
            _tell(f"control ({setting})", controls[setting])
        trial = _try(bug, bug)
        caught, row = _verdict(bug, trial, controls.get(setting))
        _tell(bug.name, trial)
        good = good and caught
        rows.append(row)
        if options.report:
            options.report.write_text(_markdown(rows, controls))
    print(_markdown(rows, controls))
    return 0 if good else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.plants", description="Check the fault suite itself.")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="this plant; may be repeated")
    parser.add_argument("--without-control", action="store_true", help="leave out the runs without a plant")
    parser.add_argument("--report", type=Path, help="write the table here (markdown)")
    return parser.parse_args()


def _try(bug: Plant | None, like: Plant) -> Trial:
    """Run a copy with the bug, or without one the way that `like` is run."""
    what = bug.name if bug else "control"
    began = time.monotonic()
    broken: tuple[tuple[str, str], ...] = ()
    trouble = None
    with _copy(bug) as tree:
        try:
            broken = _by_tests(tree, like.test) if like.test else asyncio.run(_by_invariants(tree, like.options))
        except Stale:
            raise
        except Exception as error:  # noqa: BLE001 - the other plants are tried all the same, and the table tells
            traceback.print_exc()
            trouble = f"{type(error).__name__}: {error}"[:300]
    return Trial(what, broken, time.monotonic() - began, trouble)


@contextmanager
def _copy(bug: Plant | None) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="workstation-plant-") as folder:
        tree = Path(folder)
        # Servers may run as another user.
        tree.chmod(0o755)
        copy_product(ROOT, tree)
        if bug is not None:
            plant(bug, tree)
        yield tree


async def _by_invariants(tree: Path, options: Options) -> tuple[tuple[str, str], ...]:
    async with asyncio.timeout(LONGEST_SECONDS):
        result = await run(options.plan(), Choices(tree, environment=options.environment, drain_seconds=DRAIN_SECONDS))
    return tuple((title, sentences[0]) for title, sentences in result.verdicts.items() if sentences)


def _by_tests(tree: Path, test: str) -> tuple[tuple[str, str], ...]:
    path = os.pathsep.join((str(tree / "src"), str(tree / "sdk" / "src")))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "-p", "no:cacheprovider", *test.split()]
    ended = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=LONGEST_SECONDS,
    )
    if ended.returncode not in (0, 1):
        raise RuntimeError(f"pytest ended with {ended.returncode}: {ended.stdout[-500:]}")
    failed = [line.split(" ")[1] for line in ended.stdout.splitlines() if line.startswith("FAILED ")]
    return tuple((name.rpartition("::")[2], name) for name in failed)


def _verdict(bug: Plant, trial: Trial, control: Trial | None) -> tuple[bool, str]:
    names = [name for name, _ in trial.broken]
    by = [name for name in names if bug.test or name in bug.caught_by]
    sound = control is None or (not control.broken and control.trouble is None)
    if trial.trouble:
        how = f"**trouble: {trial.trouble}**"
    elif not by:
        how = f"**not caught**{' (but: ' + ', '.join(names) + ')' if names else ''}"
    elif not sound:
        how = f"**the control is not clean**; {', '.join(by)}"
    else:
        how = f"test: {_some(by)}" if bug.test else ", ".join(by)
    setting = f"`{bug.test}`" if bug.test else str(bug.options)
    return bool(by) and sound and not trial.trouble, (
        f"| `{bug.name}` | {bug.says} | {how} | {setting} | {trial.seconds:.0f} |"
    )


def _some(tests: Sequence[str]) -> str:
    shown = ", ".join(f"`{test}`" for test in tests[:2])
    return shown if len(tests) <= 2 else f"{shown} and {len(tests) - 2} more"


def _tell(name: str, trial: Trial) -> None:
    print(f"{name}: {trial.seconds:.0f} s{'; trouble: ' + trial.trouble if trial.trouble else ''}")
    for title, sentence in trial.broken:
        print(f"  {title}: {sentence}")
    sys.stdout.flush()


def _markdown(rows: Sequence[str], controls: dict[str, Trial]) -> str:
    head = ["| plant | the bug | caught by | run | seconds |", "|---|---|---|---|---|"]
    clean = sum(not control.broken and control.trouble is None for control in controls.values())
    return (
        "\n".join([*head, *rows, "", f"Runs of the same kinds without a plant: {clean} of {len(controls)} clean."])
        + "\n"
    )


if __name__ == "__main__":
    sys.exit(main())
