"""From signature to JSON Schema, from payload to arguments."""

from typing import Annotated, Any

import jsonschema_rs
import msgspec
import pytest

from workstation_sdk.schema import PayloadInvalid, read_signature


class Point(msgspec.Struct):
    """A type with a schema of its own."""

    x: int
    y: int = 0


def arguments(function: Any, payload: bytes) -> dict[str, Any]:
    return read_signature(function).arguments(msgspec.Raw(payload))


async def scrape(ctx, url: str, selectors: list[str] | dict[str, str] | None = None, *, depth: int = 1): ...  # type: ignore[no-untyped-def]
async def plot(ctx, points: list[Point]): ...  # type: ignore[no-untyped-def]
async def bounded(ctx, size: Annotated[int, msgspec.Meta(ge=1, le=9)] = 3): ...  # type: ignore[no-untyped-def]
async def anything(ctx, known: int = 0, **rest: object): ...  # type: ignore[no-untyped-def]
async def nothing(ctx): ...  # type: ignore[no-untyped-def]
async def untyped(ctx, a, b=2): ...  # type: ignore[no-untyped-def]
async def mutable(ctx, tags: list[str] = ["a"]): ...  # type: ignore[no-untyped-def] # noqa: B006


def test_a_schema_names_required_and_optional_parameters() -> None:
    schema = read_signature(scrape).schema
    assert schema["required"] == ["url"]
    assert schema["properties"]["url"] == {"type": "string"}
    assert schema["properties"]["depth"] == {"type": "integer", "default": 1}
    assert [option["type"] for option in schema["properties"]["selectors"]["anyOf"]] == [
        "array",
        "object",
        "null",
    ]


def test_a_schema_agrees_with_what_the_handler_accepts() -> None:
    for function, good, bad in [
        (scrape, b'{"url":"u","selectors":{"h":"h1"},"extra":1}', b'{"url":1}'),
        (plot, b'{"points":[{"x":1}]}', b'{"points":[{"y":1}]}'),
        (bounded, b'{"size":9}', b'{"size":10}'),
    ]:
        parameters = read_signature(function)
        validator = jsonschema_rs.validator_for(parameters.schema)
        parameters.arguments(msgspec.Raw(good))
        validator.validate(msgspec.json.decode(good))
        assert not validator.is_valid(msgspec.json.decode(bad))
        with pytest.raises(PayloadInvalid, match="does not fit"):
            parameters.arguments(msgspec.Raw(bad))


def test_unknown_keys_are_dropped() -> None:
    assert arguments(scrape, b'{"url":"u","more":1}') == {"url": "u", "selectors": None, "depth": 1}


def test_a_handler_with_a_rest_gets_unknown_keys() -> None:
    assert arguments(anything, b'{"known":1,"more":[2]}') == {"known": 1, "more": [2]}


def test_nested_types_arrive_as_values() -> None:
    assert arguments(plot, b'{"points":[{"x":1}]}') == {"points": [Point(1, 0)]}


def test_parameters_without_types_take_anything() -> None:
    assert arguments(untyped, b'{"a":[1]}') == {"a": [1], "b": 2}


def test_a_mutable_default_is_fresh_each_time() -> None:
    first = arguments(mutable, b"{}")["tags"]
    first.append("b")
    assert arguments(mutable, b"{}")["tags"] == ["a"]


def test_a_handler_without_parameters_takes_any_object() -> None:
    assert read_signature(nothing).schema == {"type": "object"}
    assert arguments(nothing, b'{"a":1}') == {}


def test_a_handler_without_context_is_refused() -> None:
    async def bare() -> None: ...

    with pytest.raises(TypeError, match="takes no context"):
        read_signature(bare)


def test_a_positional_only_parameter_is_refused() -> None:
    async def odd(ctx: Any, url: str, /) -> None: ...

    with pytest.raises(TypeError, match="cannot be filled from a payload"):
        read_signature(odd)


def test_a_type_that_cannot_come_from_json_is_refused() -> None:
    async def odd(ctx: Any, when: type) -> None: ...

    with pytest.raises(TypeError, match="cannot come from JSON"):
        read_signature(odd)
