"""What a handler gets: the task's facts, progress and checkpoints."""

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Protocol

import msgspec
from msgspec import UNSET, Raw, UnsetType

from workstation_sdk.attempt import Attempt
from workstation_sdk.protocol import VALUE_LIMIT, ProgressItem, encode
from workstation_sdk.text import sendable

_decode_object: msgspec.json.Decoder[dict[str, Any]] = msgspec.json.Decoder(dict[str, Any])


class ProgressPort(Protocol):
    """Where progress goes."""

    def note(self, attempt: Attempt, item: ProgressItem) -> None:
        """Take one report; must be called on the event loop."""


class TaskFacts:
    """The task as the handler sees it."""

    __slots__ = ("_attempt", "_payload", "_port", "resources", "usage")

    def __init__(self, attempt: Attempt, port: ProgressPort, resources: Any) -> None:
        self._attempt = attempt
        self._port = port
        self._payload: dict[str, Any] | None = None
        self.resources = resources
        """What the agent's lifespan yielded, or None."""
        self.usage: Mapping[str, object] | None = None
        """Set it to report what the attempt used up, for example tokens; sent with the result."""

    @property
    def task_id(self) -> str:
        """The task's id, a decimal string."""
        return self._attempt.claim.id

    @property
    def type(self) -> str:
        """The task type."""
        return self._attempt.claim.type

    @property
    def attempt(self) -> int:
        """Which try this is; it only ever grows."""
        return self._attempt.claim.attempt

    @property
    def priority(self) -> int:
        """1 to 10, higher first."""
        return self._attempt.claim.priority

    @property
    def timeout(self) -> timedelta:
        """How long the attempt may take from its claim on."""
        return timedelta(milliseconds=self._attempt.claim.timeout_ms)

    @property
    def deadline_at(self) -> datetime | None:
        """The instant the server takes the attempt back, by the server's clock."""
        text = self._attempt.claim.deadline_at
        return datetime.fromisoformat(text) if text else None

    @property
    def payload(self) -> dict[str, Any]:
        """The whole payload as it was submitted."""
        if self._payload is None:
            self._payload = _decode_object.decode(self._attempt.claim.payload)
        return self._payload

    @property
    def last_checkpoint(self) -> Any:
        """The newest checkpoint of this or an earlier attempt, or None."""
        noted = self._attempt.progress
        data = noted.data if noted and noted.data is not UNSET else self._attempt.claim.checkpoint
        return None if data is UNSET else msgspec.json.decode(data)

    @property
    def cancelled(self) -> bool:
        """Whether the attempt was asked to stop; code in threads looks here from time to time."""
        return self._attempt.ending is not None

    def _item(self, percent: float | None, message: str | None, data: object) -> ProgressItem:
        if percent is not None and not 0 <= percent <= 100:
            raise ValueError(f"percent is a number from 0 to 100, not {percent}")
        return ProgressItem(
            self.task_id,
            self.attempt,
            UNSET if percent is None else percent,
            sendable(message) if message else UNSET,
            UNSET if data is UNSET else _raw_checkpoint(data),
        )


class Context(TaskFacts):
    """The context of an `async def` handler."""

    __slots__ = ()

    async def progress(self, percent: float | None, message: str | None = None, data: object = None) -> None:
        """Report how far the attempt is: percent 0..100 or None, a short message, a checkpoint.

        Reports are coalesced: the latest travels, at most ten times a second.
        Raises `ValueError` for a percent out of range or data over 1 MiB, `TypeError` for data that is not
        JSON.
        """
        self._port.note(self._attempt, self._item(percent, message, UNSET if data is None else data))

    async def checkpoint(self, data: object) -> None:
        """Keep any JSON value up to 1 MiB for the next attempt, which finds it in `last_checkpoint`."""
        self._port.note(self._attempt, self._item(None, None, data))


class SyncContext(TaskFacts):
    """The context of a plain `def` handler, which runs in a thread: the same names as blocking calls."""

    __slots__ = ("_loop",)

    def __init__(self, attempt: Attempt, port: ProgressPort, resources: Any) -> None:
        super().__init__(attempt, port, resources)
        self._loop = asyncio.get_running_loop()

    def progress(self, percent: float | None, message: str | None = None, data: object = None) -> None:
        """Report how far the attempt is, as `Context.progress` does."""
        self._tell(self._item(percent, message, UNSET if data is None else data))

    def checkpoint(self, data: object) -> None:
        """Keep any JSON value for the next attempt, as `Context.checkpoint` does."""
        self._tell(self._item(None, None, data))

    def _tell(self, item: ProgressItem) -> None:
        self._loop.call_soon_threadsafe(self._port.note, self._attempt, item)


def _raw_checkpoint(data: object) -> Raw | UnsetType:
    encoded = encode(data)
    if len(encoded) > VALUE_LIMIT:
        raise ValueError(f"the checkpoint takes {len(encoded)} bytes, the limit is {VALUE_LIMIT}: keep less in it")
    return Raw(encoded)
