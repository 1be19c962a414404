import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager

import pytest
import uvloop
from benchmarks.ours.http_client import Tally, send_all
from benchmarks.ours.load import build_requests
from benchmarks.payload import PAYLOAD_BYTES, payload
from benchmarks.sample import percentile


@asynccontextmanager
async def answering(*answers: bytes) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A server that gives these answers in turn, for ever; yields its port and what it was sent."""
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            seen.append(head + await reader.readexactly(length))
            if not (answer := answers[len(seen) % len(answers)]):
                break
            writer.write(answer)
        writer.close()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        except asyncio.IncompleteReadError:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], seen


Run = Callable[[Coroutine[None, None, tuple[Tally, set[bytes]]]], tuple[Tally, set[bytes]]]


def order(tasks: int, batch: int) -> dict[str, object]:
    return {
        "agent_id": "7",
        "tokens": ["one", "two"],
        "tasks": tasks,
        "batch": batch,
        "first": 100,
        "keyed": True,
    }


CREATED = b'HTTP/1.1 201 Created\r\nContent-Length: 16\r\n\r\n{"success":true}'
LIMITED = b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 4\r\n\r\nslow"


@pytest.mark.parametrize("number", [0, 9, 10, 99_999, 1_000_000])
def test_every_payload_is_exactly_as_long_as_the_others(number: int) -> None:
    assert len(json.dumps(payload(number), separators=(",", ":"))) == PAYLOAD_BYTES


def test_the_tokens_take_turns_and_numbers_go_on_over_the_batches() -> None:
    first, second = build_requests(order(tasks=4, batch=2))
    assert b"Bearer one\r\n" in first
    assert b"Bearer two\r\n" in second
    tasks = json.loads(second.partition(b"\r\n\r\n")[2])["tasks"]
    assert [task["payload"]["n"] for task in tasks] == [102, 103]


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_all_requests_are_sent_once_over_all_connections_on_either_loop(run: Run) -> None:
    async def send() -> tuple[Tally, set[bytes]]:
        async with answering(CREATED) as (port, seen):
            tally, _ = await send_all("127.0.0.1", port, build_requests(order(50, 1)), connections=8)
        return tally, set(seen)

    tally, seen = run(send())
    assert tally.statuses == {201: 50}
    assert len(tally.seconds) == 50
    assert len(seen) == 50


async def test_a_refusal_is_counted_and_its_first_body_kept() -> None:
    async with answering(CREATED, LIMITED) as (port, _):
        tally, _ = await send_all("127.0.0.1", port, build_requests(order(10, 1)), connections=1)
    assert tally.statuses == {429: 5, 201: 5}
    assert tally.refusal == b"slow"


async def test_a_connection_closed_with_work_left_is_an_error() -> None:
    async with answering(b"") as (port, _):
        with pytest.raises(ConnectionError):
            await send_all("127.0.0.1", port, build_requests(order(3, 1)), connections=1)


def test_a_percentile_is_one_of_the_values() -> None:
    assert percentile([3, 1, 2], 0.5) == 2
    assert percentile([3, 1, 2], 0.99) == 3
