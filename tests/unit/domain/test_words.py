"""Spans and sizes as people say them."""

from datetime import timedelta

import pytest

from workstation.domain.words import in_words, size_in_words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-3, "0.0s"), (0.44, "0.4s"), (12, "12s"), (59.9, "59s"), (252, "4m12s"), (11100, "3h05m"), (97200, "1d03h")],
)
def test_spans_in_words(seconds: float, words: str) -> None:
    assert in_words(timedelta(seconds=seconds)) == words


@pytest.mark.parametrize(
    ("size", "words"),
    [(512, "512 bytes"), (999_000, "999 kB"), (3_200_000, "3 MB"), (3.2e9, "3.2 GB")],
)
def test_sizes_in_words(size: float, words: str) -> None:
    assert size_in_words(size) == words
