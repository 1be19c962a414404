"""The frames of the agent protocol as typed values, and their JSON."""

from typing import Any, TypeVar

import msgspec
from msgspec import UNSET, Raw, UnsetType

FRAME_LIMIT = 4 * 1024 * 1024
VALUE_LIMIT = 1024 * 1024

_encoder = msgspec.json.Encoder()
encode = _encoder.encode


class Held(msgspec.Struct, frozen=True, gc=False):
    """An attempt by name."""

    task: str
    attempt: int


class Claim(msgspec.Struct, frozen=True, gc=False):
    """One attempt at a task, as it comes in `tasks`."""

    id: str
    type: str
    attempt: int
    payload: Raw = Raw(b"{}")
    priority: int = 5
    timeout_ms: int = 30_000
    deadline_at: str | None = None
    checkpoint: Raw | UnsetType = UNSET


class AttemptError(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why an attempt failed."""

    message: str
    type: str = ""
    retryable: bool = True
    retry_after_ms: int | UnsetType = UNSET


class DoneItem(msgspec.Struct, gc=False):
    """An attempt finished with a result."""

    task: str
    attempt: int
    result: Raw
    usage: Raw | UnsetType = UNSET


class FailItem(msgspec.Struct):
    """An attempt failed."""

    task: str
    attempt: int
    error: AttemptError


class ReleaseItem(msgspec.Struct, gc=False):
    """An attempt given back unharmed."""

    task: str
    attempt: int


class ProgressItem(msgspec.Struct, gc=False):
    """How far an attempt is; absent fields leave what is known."""

    task: str
    attempt: int
    percent: float | UnsetType = UNSET
    message: str | UnsetType = UNSET
    data: Raw | UnsetType = UNSET


Outcome = DoneItem | FailItem | ReleaseItem


class Hello(msgspec.Struct, tag_field="kind", tag="hello"):
    """The agent's first frame."""

    instance: str
    slots: int | None
    tasks: dict[str, Any] | None
    capabilities: list[str]
    region: str | None
    version: str | None
    launch: str | None
    health_interval_ms: int
    holding: list[Held]


class Done(msgspec.Struct, tag_field="kind", tag="done"):
    """Finished attempts."""

    items: list[DoneItem]


class Fail(msgspec.Struct, tag_field="kind", tag="fail"):
    """Failed attempts."""

    items: list[FailItem]


class Release(msgspec.Struct, tag_field="kind", tag="release"):
    """Attempts given back."""

    items: list[ReleaseItem]


class Progress(msgspec.Struct, tag_field="kind", tag="progress"):
    """How far attempts are."""

    items: list[ProgressItem]


class Credit(msgspec.Struct, tag_field="kind", tag="credit"):
    """So many more tasks may be sent; negative takes back."""

    n: int


class Heartbeat(msgspec.Struct, tag_field="kind", tag="heartbeat"):
    """Still here; renews everything the instance holds."""

    holding: list[Held]
    healthStatus: str | UnsetType = UNSET
    metadata: dict[str, Any] | UnsetType = UNSET


class Bye(msgspec.Struct, tag_field="kind", tag="bye"):
    """Drained and gone."""


class Welcome(msgspec.Struct, tag_field="kind", tag="welcome"):
    """The server's answer to `hello`."""

    agent: str
    slots: int
    heartbeat_ms: int = 5_000
    lease_ms: int = 15_000
    instance: str = ""
    name: str = ""


class Tasks(msgspec.Struct, tag_field="kind", tag="tasks"):
    """Attempts to work on."""

    items: list[Claim]


class SettledItem(msgspec.Struct, gc=False):
    """What became of a report: `status` when it is committed, `code` when it is refused for good."""

    task: str
    attempt: int
    kind: str = ""
    status: str | None = None
    code: str | None = None
    error: str | None = None


class Settled(msgspec.Struct, tag_field="kind", tag="settled"):
    """Answers to reports."""

    items: list[SettledItem]


class CancelItem(msgspec.Struct, gc=False):
    """An attempt to stop."""

    task: str
    attempt: int
    reason: str = "cancelled"


class Cancel(msgspec.Struct, tag_field="kind", tag="cancel"):
    """Attempts to stop."""

    items: list[CancelItem]


class Drain(msgspec.Struct, tag_field="kind", tag="drain"):
    """Finish, then leave; with reason `restart` come back afterwards."""

    reason: str = ""


class Refusal(msgspec.Struct, tag_field="kind", tag="error"):
    """The server did not understand a frame."""

    code: str = ""
    error: str = ""


class _Envelope(msgspec.Struct):
    kind: str


ServerFrame = Welcome | Tasks | Settled | Cancel | Drain | Refusal
_SERVER_KINDS = {"welcome", "tasks", "settled", "cancel", "drain", "error"}
_decoder: msgspec.json.Decoder[ServerFrame] = msgspec.json.Decoder(ServerFrame)

AgentFrame = Hello | Done | Fail | Release | Progress | Credit | Heartbeat | Bye
_agent_decoder: msgspec.json.Decoder[AgentFrame] = msgspec.json.Decoder(AgentFrame)

Batch = TypeVar("Batch", Done, Fail, Release, Progress)


def decode(message: bytes | str) -> ServerFrame | None:
    """Return the server's frame, or None for a kind this version does not know.

    Raises `msgspec.MsgspecError` when a known kind has the wrong shape.
    """
    try:
        return _decoder.decode(message)
    except msgspec.ValidationError:
        if msgspec.json.decode(message, type=_Envelope).kind in _SERVER_KINDS:
            raise
        return None


def decode_agent(message: bytes | str) -> AgentFrame:
    """Return an agent's frame; raises `msgspec.MsgspecError` for any other message."""
    return _agent_decoder.decode(message)


def encode_batch(batch: Batch) -> list[bytes]:
    """Return the frame as one message, or as several where it would outgrow the limit of a message."""
    message = encode(batch)
    if len(message) <= FRAME_LIMIT or len(batch.items) == 1:
        return [message]
    kind, middle = type(batch), len(batch.items) // 2
    halves = kind(batch.items[:middle]), kind(batch.items[middle:])
    return [part for half in halves for part in encode_batch(half)]
