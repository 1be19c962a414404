"""One attempt while this process works on it."""

import asyncio
import enum

from workstation_sdk.declaration import Handler
from workstation_sdk.protocol import Claim, ProgressItem

Key = tuple[str, int]


class Ending(enum.Enum):
    """Why an attempt is stopped from outside."""

    CANCELLED = "the server took it back"
    TIMED_OUT = "it outlived its timeout"
    GIVEN_BACK = "the agent drains"
    DROPPED = "the instance is dead"


class Attempt:
    """The claim, its handler and, once it waits for something, its own asyncio task."""

    __slots__ = ("claim", "ending", "handler", "key", "late_at", "progress", "task")

    def __init__(self, claim: Claim, key: Key, handler: Handler, late_at: float) -> None:
        self.claim = claim
        self.key = key
        self.handler = handler
        self.late_at = late_at
        self.ending: Ending | None = None
        self.task: asyncio.Task[None] | None = None
        self.progress: ProgressItem | None = None

    def stop(self, ending: Ending) -> None:
        """Ask the handler to stop: a coroutine is cancelled, a thread finds `ctx.cancelled` true.

        The first reason stands, except that a server's word outranks our own.
        """
        first = self.ending is None
        if first or ending in (Ending.CANCELLED, Ending.DROPPED):
            self.ending = ending
        if first and self.task is not None and not self.handler.blocking:
            self.task.cancel()
