"""Every planted bug fits the source as it is: a stale one would test nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.chaos.invariants import INVARIANTS, title
from tests.chaos.plants.plant import Edit, Plant, Stale
from tests.chaos.plants.table import PLANTS

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("bug", PLANTS, ids=lambda bug: bug.name)
def test_a_plant_fits_the_source(bug: Plant) -> None:
    texts: dict[str, str] = {}
    for edit in bug.edits:
        text = texts.get(edit.path) or (ROOT / edit.path).read_text(encoding="utf-8")
        texts[edit.path] = edit.applied_to(text)
        assert texts[edit.path] != text
        if edit.path.endswith(".py"):
            compile(texts[edit.path], edit.path, "exec")


@pytest.mark.parametrize("bug", PLANTS, ids=lambda bug: bug.name)
def test_a_plant_says_who_is_to_catch_it(bug: Plant) -> None:
    assert bug.test is not None or bug.caught_by
    assert set(bug.caught_by) <= {title(invariant) for invariant in INVARIANTS}
    if bug.test is not None:
        files = [word.partition("::")[0] for word in bug.test.split() if word.startswith("tests/")]
        assert files and all((ROOT / file).exists() for file in files)


def test_there_are_enough_plants_and_none_twice() -> None:
    names = [bug.name for bug in PLANTS]
    assert len(set(names)) == len(names) >= 18
    assert sum(bug.test is None for bug in PLANTS) >= 15


def test_a_replacement_that_fits_nowhere_or_twice_is_stale() -> None:
    with pytest.raises(Stale, match="0 times"):
        Edit("a.sql", "x", "y").applied_to("a")
    with pytest.raises(Stale, match="2 times"):
        Edit("a.sql", "x", "y").applied_to("x x")


def test_a_replacement_within_one_statement_leaves_the_others_alone() -> None:
    text = "-- name: one\nselect x\n\n-- name: two\nselect x\n"
    assert Edit("a.sql", "x", "y", within="-- name: one\n").applied_to(text) == text.replace("x", "y", 1)
