"""One instance: the attempts it holds, and what it owes the server. It does no input or output itself."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from workstation_sdk.attempt import Attempt, Ending, Key
from workstation_sdk.chance import new_uuid
from workstation_sdk.conclusion import released, stopped
from workstation_sdk.context import ProgressPort
from workstation_sdk.declaration import Declaration
from workstation_sdk.lanes import Lanes
from workstation_sdk.lateness import Lateness
from workstation_sdk.protocol import (
    AttemptError,
    Cancel,
    Claim,
    Credit,
    FailItem,
    Held,
    Outcome,
    ServerFrame,
    Settled,
    Tasks,
    encode,
)
from workstation_sdk.reports import LatestProgress, Outcomes

_log = logging.getLogger("workstation_sdk")


def _nobody() -> None:
    return None


class Worker:
    """Takes the server's frames, runs handlers, and has frames to send: see `receive` and `frames`."""

    def __init__(self, declaration: Declaration, resources: Any, port: ProgressPort | None = None) -> None:
        self.instance = new_uuid()
        self.changed = asyncio.Event()
        """Set whenever an attempt ends or an outcome is settled."""
        self._handlers = declaration.handlers
        self._attempts: dict[Key, Attempt] = {}
        self._parked: list[Attempt] = []
        self._outcomes = Outcomes()
        self._progress = LatestProgress(self._tell_writer)
        self._lanes = Lanes(port or self._progress, self._finish, resources)
        self._lateness = Lateness(self._attempts)
        self._wake: Callable[[], None] = _nobody
        self._slots = 0
        self._draining = False
        self._credit = 0

    @property
    def working(self) -> bool:
        """Whether any handler still works."""
        return bool(self._attempts)

    @property
    def owing(self) -> bool:
        """Whether any outcome waits for the server's answer."""
        return bool(self._outcomes.unsettled)

    def holding(self) -> list[Held]:
        """Return what this instance works on or has an unsettled outcome for."""
        parked = [attempt.key for attempt in self._parked]
        return [Held(*key) for key in (*self._attempts, *self._outcomes.unsettled, *parked)]

    def attach(self, slots: int, wake: Callable[[], None]) -> None:
        """Begin a connection: everything unsettled is sent again; `wake` is called when there are frames."""
        self._slots = slots
        self._outcomes.send_again()
        self._progress.tell_again(self._attempts.values())
        self._credit = -slots if self._draining else 0
        self._wake = wake
        wake()

    def detach(self) -> None:
        """End the connection; handlers work on."""
        self._wake = _nobody

    def frames(self) -> list[bytes]:
        """Return the messages to send now."""
        frames = self._outcomes.frames() + self._progress.frames()
        if self._credit:
            frames.append(encode(Credit(self._credit)))
            self._credit = 0
        return frames

    def receive(self, frame: ServerFrame) -> None:
        """Act on `tasks`, `settled` and `cancel`; other frames are the session's."""
        match frame:
            case Tasks():
                now = self._lateness.watch()
                for claim in frame.items:
                    self._take(claim, now)
            case Settled():
                self._settle(frame)
            case Cancel():
                self._cancel(frame)

    def stop_taking(self) -> None:
        """Ask for no more tasks; what arrives all the same waits to be given back."""
        if not self._draining:
            self._draining = True
            self._credit -= self._slots
            self._tell_writer()

    def give_back(self) -> None:
        """Stop every handler to give its task back."""
        parked, self._parked = self._parked, []
        for attempt in parked:
            self._report(attempt, released(attempt))
        self._stop_all(Ending.GIVEN_BACK)

    def abandon(self) -> None:
        """Give back even what has not stopped."""
        attempts = list(self._attempts.values())
        self._attempts.clear()
        for attempt in attempts:
            self._report(attempt, stopped(attempt))

    def drop(self) -> None:
        """Forget everything and stop every handler: the instance is dead."""
        self._stop_all(Ending.DROPPED)
        self._attempts.clear()
        self._parked.clear()
        self._outcomes = Outcomes()
        self._progress.close()
        self._lanes.close()
        self._lateness.close()
        self.changed.set()

    def _take(self, claim: Claim, now: float) -> None:
        key = (claim.id, claim.attempt)
        if key in self._attempts or key in self._outcomes.unsettled:
            return
        handler = self._handlers.get(claim.type)
        if handler is None:
            self._refuse(key, claim.type)
            return
        attempt = Attempt(claim, key, handler, now + claim.timeout_ms / 1000)
        if self._draining:
            self._park(attempt)
            return
        self._attempts[key] = attempt
        self._lanes.start(attempt)

    def _park(self, attempt: Attempt) -> None:
        if all(attempt.key != other.key for other in self._parked):
            self._parked.append(attempt)

    def _refuse(self, key: Key, type: str) -> None:
        error = AttemptError(f"this agent has no handler for {type!r}", type="unknown_type", retryable=False)
        self._outcomes.add(key, FailItem(*key, error), None)
        self._tell_writer()

    def _settle(self, frame: Settled) -> None:
        for item in frame.items:
            self._outcomes.settle((item.task, item.attempt))
            # The release of an attempt the server took back only returns its slot.
            if item.code is not None and item.kind != "release":
                _log.warning("%s of task %s was refused: %s", item.kind or "report", item.task, item.error or item.code)
        self.changed.set()

    def _cancel(self, frame: Cancel) -> None:
        for item in frame.items:
            key = (item.task, item.attempt)
            if (attempt := self._attempts.get(key)) is not None:
                attempt.stop(Ending.CANCELLED)
            self._parked = [parked for parked in self._parked if parked.key != key]

    def _stop_all(self, ending: Ending) -> None:
        for attempt in list(self._attempts.values()):
            attempt.stop(ending)

    def _finish(self, attempt: Attempt, outcome: Outcome) -> None:
        if self._attempts.pop(attempt.key, None) is attempt:
            self._report(attempt, outcome)

    def _report(self, attempt: Attempt, outcome: Outcome) -> None:
        self._outcomes.add(attempt.key, outcome, self._progress.last_word(attempt))
        if self._draining:
            # The report returns its slot by itself; this takes it back, so that no new task comes for it.
            self._credit -= 1
        self._tell_writer()
        self.changed.set()

    def _tell_writer(self) -> None:
        self._wake()
