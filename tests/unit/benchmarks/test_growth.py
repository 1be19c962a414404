"""Points of a growth run are judged by their ratio to the point they name."""

import pytest
from benchmarks.growth.report import Point, markdown, verdicts

FRESH = Point("fresh", 20_000, 25.0, 10.0)


def test_a_point_is_judged_by_its_cost_beside_the_one_it_names() -> None:
    (good, bad) = verdicts([FRESH, Point("1M", 18_000, 49.0, 30.0, "fresh"), Point("10M", 9_000, 51.0, 30.0, "fresh")])
    assert (good.cost, good.met, bad.met) == (pytest.approx(1.96), True, False)


def test_retention_is_judged_by_the_rate_of_the_queue() -> None:
    slow = Point("while retention drops old tasks", 17_000, 20.0, 9.0, "fresh")
    (verdict,) = verdicts([FRESH, slow])
    assert (verdict.rate, verdict.met) == (0.85, False)


def test_a_point_without_the_one_it_names_is_an_error() -> None:
    with pytest.raises(KeyError):
        verdicts([Point("1M", 1, 1, 1, "fresh")])


def test_the_report_says_what_was_missed() -> None:
    machine = {"cores": 2, "processor": "p", "memory": "m"}
    text = "\n".join(markdown([FRESH, Point("10M", 9_000, 51.0, 30.0, "fresh")], machine, {"took": "1 minute"}))
    assert "| 10M | 9,000 | 51.0 | 30.0 | fresh | 2.04× | 0.45× | cost ≤ 2× | missed |" in text
