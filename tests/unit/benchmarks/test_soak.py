"""The soak compares the second quarter of the time with the last."""

import pytest
from benchmarks.soak.windows import growth, markdown


def test_level_memory_meets_the_goal_whatever_the_start_was() -> None:
    found = growth("server", [10, 30, *[50.0] * 14], [9] * 16)
    assert (found.ratio, found.met, found.most) == (1.0, True, 50)


def test_growth_over_the_goal_is_seen() -> None:
    found = growth("server", [100.0 + n for n in range(16)], list(range(16)))
    assert found.ratio == pytest.approx(113.5 / 105.5)
    assert not found.met
    assert found.files == (4, 15)
    assert "missed" in "\n".join(markdown([found], 60, {"tasks": 1}))


def test_too_few_samples_say_nothing() -> None:
    with pytest.raises(ValueError, match="run for longer"):
        growth("server", [1.0] * 7, [1] * 7)
