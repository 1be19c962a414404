"""The simulation finds nothing in what is there, and finds every bug that is planted in it."""

import os
import subprocess
import sys

import pytest
from tests.support.planted import PLANTED

SEEDS = 150
SEEDS_TO_FIND_A_BUG = 200


def simulate(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the simulation in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "tests.simulation", *arguments],
        env={**os.environ, "PYTHONHASHSEED": "0", **environment},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


def test_every_promise_is_kept_over_many_seeds() -> None:
    lived = simulate("--base", "1", "--count", str(SEEDS))
    assert lived.returncode == 0, lived.stdout + lived.stderr


def test_a_seed_is_the_same_life_each_time() -> None:
    first, second = (simulate("--count", "8", "--hashes", PYTHONHASHSEED=seed) for seed in ("1", "2"))
    assert first.returncode == 0, first.stdout + first.stderr
    hashes = [line for line in first.stdout.splitlines() if line[0].isdigit()][:8]
    assert len({line.split()[1] for line in hashes}) == 8
    assert hashes == [line for line in second.stdout.splitlines() if line[0].isdigit()][:8]


@pytest.mark.parametrize("plant", sorted(PLANTED))
def test_a_planted_bug_is_found(plant: str) -> None:
    lived = simulate("--plant", plant, "--count", str(SEEDS_TO_FIND_A_BUG))
    assert lived.returncode == 1, lived.stdout + lived.stderr
    assert "Violation" in lived.stdout
    assert "again: " in lived.stdout
