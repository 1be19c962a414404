"""Values given on the command line."""

from datetime import UTC, datetime, timedelta

import click
import pytest

from workstation.cli.times import age, parse_duration, parse_instant, stopwatch
from workstation.cli.values import parse_pairs


@pytest.mark.parametrize(
    ("pair", "expected"),
    [
        ("url=https://example.com/?a=b&c:=d", {"url": "https://example.com/?a=b&c:=d"}),
        ("depth:=2", {"depth": 2}),
        ("depth=2", {"depth": "2"}),
        ("deep:=true", {"deep": True}),
        ('tags:=["a", "b"]', {"tags": ["a", "b"]}),
        ("nothing:=null", {"nothing": None}),
        ("empty=", {"empty": ""}),
        ("ns:name=x", {"ns:name": "x"}),
        ("text=two\nlines", {"text": "two\nlines"}),
    ],
)
def test_a_pair_becomes_a_field(pair: str, expected: dict[str, object]) -> None:
    assert parse_pairs([pair]) == expected


@pytest.mark.parametrize("pair", ["url", "=x", ":=1", "n:=[1,", "n:=word"])
def test_what_is_no_field_is_refused(pair: str) -> None:
    with pytest.raises(click.UsageError):
        parse_pairs([pair])


def test_a_field_given_twice_is_refused() -> None:
    with pytest.raises(click.UsageError, match="given twice"):
        parse_pairs(["a=1", "a:=2"])


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("1.5", 1.5), ("90s", 90), ("1h30m", 5400), ("30d", 2_592_000), ("250ms", 0.25)]
)
def test_durations_are_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "soon", "5 m", "-5s", "m5", "5mm", "1h x"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration(text)


def test_instants_are_read_with_their_offset() -> None:
    assert parse_instant("2026-08-02T12:00:00+02:00") == datetime(2026, 8, 2, 10, tzinfo=UTC)


def test_an_instant_can_be_so_long_from_now() -> None:
    ahead = parse_instant("+15m") - datetime.now(UTC)
    assert timedelta(minutes=14, seconds=50) < ahead <= timedelta(minutes=15)


def test_a_stopwatch_shows_hours_only_where_there_are_some() -> None:
    assert [stopwatch(timedelta(seconds=s)) for s in (4, 64, 3723)] == ["00:04", "01:04", "1:02:03"]


def test_the_age_of_what_has_not_happened_is_empty() -> None:
    assert age(None) == ""
