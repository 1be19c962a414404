"""Bodies and query strings into structs."""

from __future__ import annotations

from typing import Annotated

import msgspec
import pytest
from msgspec import Meta, Raw

from workstation.api.bodies import BodyReader, camel
from workstation.api.queries import QueryReader
from workstation.api.schemas.common import JsonObject
from workstation.domain.errors import FieldProblem, ValidationFailed


class Inner(msgspec.Struct, kw_only=True):
    max_size: int
    note: str | None = None


class Body(msgspec.Struct, kw_only=True):
    name: Annotated[str, Meta(min_length=1)]
    max_retries: Annotated[int, Meta(ge=0)] | None = None
    agent_id: str | None = msgspec.field(name="agentId", default=None)
    payload: JsonObject | None = None
    anything: Raw | None = None
    items: Annotated[list[Inner], Meta(max_length=2)] = []


class Query(msgspec.Struct, kw_only=True):
    limit: Annotated[int, Meta(ge=1)] = 50
    dead_letter: bool | None = None
    status: str | None = None


body = BodyReader(Body)
query = QueryReader(Query)


def refused(text: str) -> dict[str, str]:
    """What is said of each wrong field."""
    with pytest.raises(ValidationFailed) as failure:
        body.read(text.encode())
    return {problem.field: problem.message for problem in failure.value.details}


def test_names_are_taken_in_both_spellings() -> None:
    assert camel("max_retries") == "maxRetries"
    for text in ('{"name":"x","max_retries":1,"agent_id":"7"}', '{"name":"x","maxRetries":1,"agentId":"7"}'):
        read, document = body.read(text.encode())
        assert (read.max_retries, read.agent_id) == (1, "7") and document["name"] == "x"


def test_unknown_names_are_ignored() -> None:
    assert body.read(b'{"name":"x","other":[1]}')[0].name == "x"


def test_raw_parts_are_kept_as_they_were_written() -> None:
    read, _ = body.read(b'{"name":"x","payload": {"a" : 1.10} ,"anything":[ 1 ]}')
    assert bytes(read.payload or b"") == b'{"a" : 1.10}' and bytes(read.anything or b"") == b"[ 1 ]"


def test_every_wrong_field_is_told_with_its_name() -> None:
    said = refused('{"maxRetries":-1,"payload":[],"items":[{"maxSize":1},{"maxSize":"x","note":5}]}')
    assert set(said) == {"name", "maxRetries", "payload", "items[1].maxSize", "items[1].note"}
    assert said["name"] == "is missing" and said["payload"] == "must be an object"
    assert said["maxRetries"] == "must be int >= 0"


def test_a_field_in_two_spellings_is_refused() -> None:
    assert refused('{"name":"x","max_retries":1,"maxRetries":1}') == {"maxRetries": "is given twice, in two spellings"}


def test_a_list_that_is_too_long_or_holds_no_objects_is_refused() -> None:
    assert set(refused('{"name":"x","items":[{"max_size":1},{"max_size":1},{"max_size":1}]}')) == {"items"}
    assert set(refused('{"name":"x","items":[1]}')) == {"items[0]"}
    assert set(refused('{"name":"x","items":{}}')) == {"items"}


def test_null_is_the_same_as_left_out() -> None:
    read, _ = body.read(b'{"name":"x","max_retries":null,"payload":null,"anything":null}')
    assert read == Body(name="x")


def test_whole_numbers_may_be_written_with_a_fraction_of_zero() -> None:
    assert body.read(b'{"name":"x","max_retries":3.0,"items":[{"max_size":1e1}]}')[0].max_retries == 3
    assert set(refused('{"name":"x","max_retries":3.5}')) == {"max_retries"}


@pytest.mark.parametrize(
    "text",
    [
        '{"name":"x"}',
        '{"name":"x","agentId":"7","max_retries":2,"payload":{"a": 1.10},"anything":[1],"items":[{"max_size":1}]}',
        '{"name":"x","payload":null,"anything":null,"items":[],"other":{"name":1}}',
        '{"name":"x","items":[{"max_size":1,"note":null,"other":1},{"max_size":2,"note":"n"}]}',
    ],
)
def test_the_fast_way_reads_what_the_careful_way_reads(text: str) -> None:
    problems: list[FieldProblem] = []
    careful = body.collect(msgspec.json.decode(text, type=dict[str, Raw]), "", problems)

    assert msgspec.json.encode(body.read(text.encode())[0]) == msgspec.json.encode(careful) and problems == []


def test_a_query_is_read_with_its_defaults() -> None:
    assert query.read(b"") == Query()
    assert query.read(b"limit=5&deadLetter=true&status=%C3%A9+b") == Query(limit=5, dead_letter=True, status="é b")


@pytest.mark.parametrize(
    "text",
    [
        b"limit=0",
        b"limit=x",
        b"limit=",
        b"limit=1&limit=1",
        b"dead_letter=null",
        b"other=1",
        b"status=%00",
        b"status=%FF",
    ],
)
def test_a_query_that_makes_no_sense_is_refused(text: bytes) -> None:
    with pytest.raises(ValidationFailed):
        query.read(text)


def test_a_query_of_any_length_is_refused() -> None:
    with pytest.raises(ValidationFailed, match="longer"):
        query.read(b"status=" + b"x" * 9000)
    with pytest.raises(ValidationFailed, match="parameters"):
        query.read(b"&".join(b"status=x" for _ in range(51)))
