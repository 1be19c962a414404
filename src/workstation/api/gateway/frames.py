"""The frames of the agent protocol as they are read and written on this side (docs/agent-protocol.md)."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from workstation.domain.tasks import Claim

FRAME_LIMIT = 4 * 1024 * 1024
RESULT_LIMIT = 1024 * 1024

Id = Annotated[str, Meta(pattern="^[0-9]{1,18}$")]
Number = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Word = Annotated[str, Meta(min_length=1, max_length=100)]
Uuid = Annotated[str, Meta(pattern="^[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}$")]


class Held(msgspec.Struct, frozen=True, gc=False):
    """An attempt by name."""

    task: Id
    attempt: Number


class Hello(msgspec.Struct, tag_field="kind", tag="hello"):
    """The agent's first frame."""

    instance: Uuid
    slots: Annotated[int, Meta(ge=1, le=100_000)] | None = None
    tasks: dict[Word, dict[str, Any] | bool | None] | None = None
    capabilities: list[Word] = []
    region: Word | None = None
    version: Word | None = None
    launch: Uuid | None = None
    health_interval_ms: Annotated[int, Meta(ge=100, le=86_400_000)] | None = None
    holding: list[Held] = []


class Credit(msgspec.Struct, tag_field="kind", tag="credit"):
    """So many more tasks may be sent."""

    n: Annotated[int, Meta(ge=-100_000, le=100_000)]


class DoneItem(msgspec.Struct, gc=False):
    """A finished attempt."""

    task: Id
    attempt: Number
    result: Raw
    usage: Raw | UnsetType = UNSET


class Done(msgspec.Struct, tag_field="kind", tag="done"):
    """Finished attempts."""

    items: list[DoneItem]


class AttemptError(msgspec.Struct, gc=False):
    """Why an attempt failed."""

    message: Annotated[str, Meta(max_length=100_000)]
    type: Annotated[str, Meta(max_length=200)] = "Error"
    retryable: bool = True
    retry_after_ms: Annotated[int, Meta(ge=0, le=30 * 86_400_000)] | None = None


class FailItem(msgspec.Struct, gc=False):
    """A failed attempt."""

    task: Id
    attempt: Number
    error: AttemptError


class Fail(msgspec.Struct, tag_field="kind", tag="fail"):
    """Failed attempts."""

    items: list[FailItem]


class Release(msgspec.Struct, tag_field="kind", tag="release"):
    """Attempts given back unharmed."""

    items: list[Held]


class ProgressItem(msgspec.Struct, gc=False):
    """How far an attempt has come."""

    task: Id
    attempt: Number
    percent: Annotated[float, Meta(ge=0, le=100)] | None = None
    message: Annotated[str, Meta(max_length=10_000)] | None = None
    data: Raw | UnsetType = UNSET


class Progress(msgspec.Struct, tag_field="kind", tag="progress"):
    """How far attempts have come."""

    items: list[ProgressItem]


class Heartbeat(msgspec.Struct, tag_field="kind", tag="heartbeat"):
    """Still here."""

    holding: list[Held] = []
    healthStatus: Literal["healthy", "degraded", "unhealthy"] | None = None
    metadata: dict[str, Any] | None = None


class Bye(msgspec.Struct, tag_field="kind", tag="bye"):
    """Drained and gone."""


class Other(msgspec.Struct):
    """Any frame, to see its kind."""

    kind: str


Frame = Credit | Done | Fail | Release | Progress | Heartbeat | Bye

read_hello = msgspec.json.Decoder(Hello).decode
read_frame = msgspec.json.Decoder(Frame).decode
read_kind = msgspec.json.Decoder(Other).decode
UNREADABLE = (msgspec.DecodeError, UnicodeError, RecursionError)
KINDS = frozenset({"credit", "done", "fail", "release", "progress", "heartbeat", "bye"})


class Salvaged(NamedTuple):
    """What could be made of a done frame that cannot be read as a whole."""

    readable: list[DoneItem]
    unreadable: list[Held]


def salvage_done(text: str) -> Salvaged | None:
    """The items of a done frame one by one, by a reader that minds less; None when even that is of no use."""
    try:
        frame = json.loads(text)
        items = frame["items"] if frame["kind"] == "done" else []
        read = [_read_done(item) for item in items]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    if not read:
        return None
    return Salvaged([i for i in read if isinstance(i, DoneItem)], [i for i in read if isinstance(i, Held)])


def _read_done(item: Any) -> DoneItem | Held:
    try:
        return msgspec.json.decode(json.dumps(item), type=DoneItem)
    except msgspec.DecodeError:
        return msgspec.convert({"task": item["task"], "attempt": item["attempt"]}, Held)


class Welcome(msgspec.Struct, tag_field="kind", tag="welcome"):
    """The server's answer to hello."""

    agent: str
    name: str
    instance: str
    slots: int
    lease_ms: int
    heartbeat_ms: int


class TaskItem(msgspec.Struct, gc=False, omit_defaults=True):
    """One claim on the wire."""

    id: str
    type: str
    payload: Raw
    attempt: int
    priority: int
    timeout_ms: int
    deadline_at: datetime
    checkpoint: Raw | UnsetType = UNSET


class Tasks(msgspec.Struct, tag_field="kind", tag="tasks"):
    """Do these."""

    items: list[TaskItem]


class SettledItem(msgspec.Struct, gc=False, omit_defaults=True):
    """The answer to one report: status when it was accepted, code when it was refused for good."""

    task: str
    attempt: int
    kind: str
    status: str | UnsetType = UNSET
    code: str | UnsetType = UNSET
    error: str | UnsetType = UNSET


class Settled(msgspec.Struct, tag_field="kind", tag="settled"):
    """Answers to reports."""

    items: list[SettledItem]


class CancelItem(msgspec.Struct, gc=False):
    """Stop working on this attempt."""

    task: str
    attempt: int
    reason: str


class Cancel(msgspec.Struct, tag_field="kind", tag="cancel"):
    """Stop working on these."""

    items: list[CancelItem]


class Drain(msgspec.Struct, tag_field="kind", tag="drain"):
    """Finish what you hold and say goodbye."""

    reason: str


class Problem(msgspec.Struct, tag_field="kind", tag="error"):
    """A frame could not be understood."""

    code: str
    error: str


def task_item(claim: Claim) -> TaskItem:
    """A claim as it goes on the wire."""
    return TaskItem(
        str(claim.task_id),
        claim.type,
        Raw(claim.payload.encode()),
        claim.attempt,
        claim.priority,
        claim.timeout_ms,
        claim.deadline_at,
        UNSET if claim.checkpoint is None else Raw(claim.checkpoint.encode()),
    )


def in_frames(items: Iterable[TaskItem], most: int = 500, limit: int = FRAME_LIMIT // 2) -> Iterable[Tasks]:
    """Claims in frames of at most so many tasks and, unless one is larger by itself, so many bytes of payload."""
    frame: list[TaskItem] = []
    size = 0
    for item in items:
        weight = len(bytes(item.payload)) + (len(bytes(item.checkpoint)) if item.checkpoint is not UNSET else 0)
        if frame and (len(frame) >= most or size + weight > limit):
            yield Tasks(frame)
            frame, size = [], 0
        frame.append(item)
        size += weight
    if frame:
        yield Tasks(frame)
