"""The load generator, a process of its own: one JSON object on standard input says what to send.

{"port", "agent_id", "tokens": [...], "connections", "tasks", "batch", "first", "keyed": bool, "paced": bool}
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from typing import Any

import uvloop

from benchmarks.ours.http_client import send_all
from benchmarks.payload import payload
from benchmarks.peers.program import PICKUP_GAP_SECONDS, own_cpu_seconds, report
from benchmarks.sample import percentile

HOST = "127.0.0.1"


def build_requests(order: dict[str, Any]) -> list[bytes]:
    """Every request's bytes, made before the clock starts: one task each, or a batch of `batch` tasks."""
    return [build_request(order, number) for number in range(order["tasks"] // order["batch"])]


def build_request(order: dict[str, Any], number: int) -> bytes:
    """The bytes of request `number`; the tokens take turns, because each has its own rate limit."""
    batch, first = order["batch"], order["first"] + number * order["batch"]
    tasks = [{"agentId": order["agent_id"], "type": "noop", "payload": payload(first + n)} for n in range(batch)]
    body = json.dumps({"tasks": tasks} if batch > 1 else tasks[0], separators=(",", ":"))
    key = f"Idempotency-Key: bench-{first}\r\n" if order["keyed"] else ""
    return (
        f"POST /api/agents/tasks{'/batch' if batch > 1 else ''} HTTP/1.1\r\nHost: {HOST}\r\n"
        f"Authorization: Bearer {order['tokens'][number % len(order['tokens'])]}\r\n"
        f"Content-Type: application/json\r\n{key}Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


async def throughput(order: dict[str, Any]) -> None:
    """Keeps all connections busy until everything is sent."""
    requests = build_requests(order)
    report("start")
    cpu = own_cpu_seconds()
    tally, seconds = await send_all(HOST, order["port"], requests, order["connections"])
    report(
        "done", seconds=seconds, cpu=own_cpu_seconds() - cpu,
        statuses=tally.statuses, refusal=tally.refusal.decode(),
        p50_ms=percentile(tally.seconds, 0.5) * 1e3, p99_ms=percentile(tally.seconds, 0.99) * 1e3,
    )  # fmt: skip


async def pickup(order: dict[str, Any]) -> None:
    """Sends one task at a time into an idle system, with a pause after each."""
    gaps = random.Random(7)
    reader, writer = await asyncio.open_connection(HOST, order["port"])
    for number in range(order["tasks"]):
        request = build_request(order, number)
        sent = time.monotonic_ns()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        acked = time.monotonic_ns()
        await reader.readexactly(content_length(head))
        if not head.startswith(b"HTTP/1.1 201"):
            raise RuntimeError(f"the server refused a task: {head[:80]!r}")
        report("sent", n=order["first"] + number, sent_ns=sent, acked_ns=acked)
        await asyncio.sleep(gaps.uniform(*PICKUP_GAP_SECONDS))
    writer.close()
    report("done")


def content_length(head: bytes) -> int:
    """The body length a response's head announces; raises ValueError when it announces none."""
    for line in head.lower().split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name == b"content-length":
            return int(value)
    raise ValueError("the response has no Content-Length")


if __name__ == "__main__":
    asked = json.loads(sys.stdin.readline())
    uvloop.run(pickup(asked) if asked["paced"] else throughput(asked))
