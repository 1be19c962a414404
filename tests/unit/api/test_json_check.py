"""What JSON is taken, against the standard library's reader as the oracle."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workstation.api.json_check import MAX_DEPTH, check
from workstation.domain.errors import ValidationFailed

TEXT = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"))
TRICKY = TEXT | st.sampled_from([":", "\\", "\\u003a", '":"', "a:b", "\\\\u0000", "{", "[", "\u2028"])
NUMBERS = st.integers(-(2**80), 2**80) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TRICKY,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TRICKY, inner, max_size=4),
    max_leaves=20,
)


def write(value: Any, draw: Any) -> str:
    """JSON text of a value, with escapes and spaces chosen at random."""
    if isinstance(value, dict):
        pairs = [f"{write(key, draw)} : {write(item, draw)}" for key, item in value.items()]
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, list):
        return "[" + ",".join(write(item, draw) for item in value) + "]"
    text = json.dumps(value, ensure_ascii=draw(st.booleans()))
    if isinstance(value, str) and draw(st.booleans()):
        text = text.replace(":", draw(st.sampled_from(["\\u003a", "\\u003A"])))
    return text


@given(st.data(), VALUES)
@settings(max_examples=300, deadline=None)
def test_what_has_no_key_twice_is_taken_and_decoded_as_it_is(data: Any, value: Any) -> None:
    text = write(value, data.draw)
    assert check(text.encode()) == json.loads(text)


@given(st.data(), st.lists(TRICKY, min_size=1, max_size=4), VALUES, VALUES)
@settings(max_examples=300, deadline=None)
def test_a_key_given_twice_is_refused_wherever_it_stands(data: Any, path: list[str], one: Any, two: Any) -> None:
    key = path[-1]
    inner = f"{{{write(key, data.draw)}:{write(one, data.draw)},{write(key, data.draw)}:{write(two, data.draw)}}}"
    for outer in reversed(path[:-1]):
        inner = f"[{{{write(outer, data.draw)}:{inner}}}]"
    with pytest.raises(ValidationFailed, match="twice") as refused:
        check(inner.encode())
    assert any(problem.field == key[:100] for problem in refused.value.details)


@given(st.data(), TRICKY, VALUES)
@settings(max_examples=200, deadline=None)
def test_a_nul_is_refused_and_only_a_nul(data: Any, text: str, beside: Any) -> None:
    written = json.dumps(text + "\0" + text)
    with pytest.raises(ValidationFailed, match="NUL"):
        check(f"[{write(beside, data.draw)},{written}]".encode())
    assert check(json.dumps([text + "\\u0000"]).encode()) == [text + "\\u0000"]


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_the_hundredth_level_is_taken_and_the_next_is_not(opening: str, closing: str) -> None:
    def nested(levels: int) -> bytes:
        return (opening * levels + "1" + closing * levels).encode()

    check(nested(MAX_DEPTH))
    for levels in (MAX_DEPTH + 1, 5000, 200_000):
        with pytest.raises(ValidationFailed, match="deeper"):
            check(nested(levels))


def test_many_brackets_side_by_side_are_not_deep() -> None:
    check(b"[" + b",".join([b"{}"] * 1000) + b"]")


@given(st.binary(max_size=40))
@settings(max_examples=500, deadline=None)
def test_any_bytes_are_decoded_or_refused(text: bytes) -> None:
    try:
        check(text)
    except ValidationFailed as refused:
        assert refused.message
