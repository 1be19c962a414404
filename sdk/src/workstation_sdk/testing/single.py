"""Running one task of an agent without a server."""

import asyncio
from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec
from msgspec import UNSET, Raw

from workstation_sdk.agent import Agent
from workstation_sdk.attempt import Attempt
from workstation_sdk.protocol import (
    AttemptError,
    Cancel,
    CancelItem,
    Claim,
    Done,
    Fail,
    ProgressItem,
    Release,
    Tasks,
    decode_agent,
    encode,
)
from workstation_sdk.worker import Worker

_TASK = "1"


class ReportedProgress(msgspec.Struct, frozen=True):
    """One call of `ctx.progress` or `ctx.checkpoint`; what it did not say is None."""

    percent: float | None = None
    message: str | None = None
    data: Any = None


class TestOutcome(msgspec.Struct, frozen=True):
    """How the attempt ended: a result, an error, or released; and all its progress in order."""

    __test__: ClassVar[bool] = False

    result: Any = None
    error: AttemptError | None = None
    progress: list[ReportedProgress] = []
    released: bool = False
    usage: Any = None


async def run_task(
    agent: Agent,
    type: str,
    payload: Mapping[str, object] | None = None,
    *,
    checkpoint: object = None,
    timeout: float = 30,
    cancel_after: float | None = None,
) -> TestOutcome:
    """Run one attempt as a connected agent would, its lifespan included, and return how it ended.

    Payload, checkpoint and result pass through JSON. `timeout` is the task's own, in seconds; `cancel_after`
    has the server cancel the attempt after so many seconds. An unknown type is an error of type
    `unknown_type`.
    """
    told: asyncio.Queue[list[bytes]] = asyncio.Queue()
    recorder = _Recorder()
    claim = Claim(
        id=_TASK,
        type=type,
        attempt=1,
        payload=Raw(encode(dict(payload or {}))),
        timeout_ms=round(timeout * 1000),
        checkpoint=UNSET if checkpoint is None else Raw(encode(checkpoint)),
    )
    async with agent.declaration.resources() as resources:
        worker = Worker(agent.declaration, resources, recorder)
        worker.attach(1, lambda: told.put_nowait(worker.frames()))
        worker.receive(Tasks([claim]))
        if cancel_after is not None:
            cancel = Cancel([CancelItem(_TASK, 1)])
            asyncio.get_running_loop().call_later(cancel_after, worker.receive, cancel)
        try:
            return _outcome(await _first(told), recorder.seen)
        finally:
            worker.drop()


class _Recorder:
    def __init__(self) -> None:
        self.seen: list[ReportedProgress] = []

    def note(self, attempt: Attempt, item: ProgressItem) -> None:
        """Keep every report."""
        if item.data is not UNSET:
            attempt.progress = item
        self.seen.append(
            ReportedProgress(
                None if item.percent is UNSET else item.percent,
                None if item.message is UNSET else item.message,
                None if item.data is UNSET else msgspec.json.decode(item.data),
            )
        )


async def _first(told: asyncio.Queue[list[bytes]]) -> bytes:
    while True:
        for frame in await told.get():
            return frame


def _outcome(message: bytes, progress: list[ReportedProgress]) -> TestOutcome:
    match decode_agent(message):
        case Done(items=[item]):
            usage = None if item.usage is UNSET else msgspec.json.decode(item.usage)
            return TestOutcome(result=msgspec.json.decode(item.result), progress=progress, usage=usage)
        case Fail(items=[failed]):
            return TestOutcome(error=failed.error, progress=progress)
        case Release():
            return TestOutcome(released=True, progress=progress)
        case other:
            raise AssertionError(f"an attempt ends with one outcome, not with {other}")
