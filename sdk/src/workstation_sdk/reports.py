"""What waits to be told: outcomes until they are settled, and the latest progress of each attempt."""

import asyncio
from collections.abc import Callable, Iterable

from msgspec import UNSET

from workstation_sdk.attempt import Attempt, Ending, Key
from workstation_sdk.protocol import (
    Done,
    DoneItem,
    Fail,
    FailItem,
    Outcome,
    Progress,
    ProgressItem,
    Release,
    ReleaseItem,
    encode_batch,
)

INTERVAL = 0.1
"""Seconds between two sendings of progress."""


class Outcomes:
    """Outcomes that are not settled yet; each goes out once per connection."""

    def __init__(self) -> None:
        self.unsettled: dict[Key, Outcome] = {}
        self._unsent: list[Outcome] = []
        self._last_words: dict[Key, ProgressItem] = {}

    def add(self, key: Key, outcome: Outcome, last_word: ProgressItem | None) -> None:
        """Keep an outcome; `last_word` is progress that must be told before it."""
        self.unsettled[key] = outcome
        self._unsent.append(outcome)
        if last_word is not None:
            self._last_words[key] = last_word

    def settle(self, key: Key) -> None:
        """Forget an outcome the server has answered."""
        self.unsettled.pop(key, None)
        self._last_words.pop(key, None)

    def send_again(self) -> None:
        """Have everything unsettled sent on the new connection."""
        self._unsent = list(self.unsettled.values())

    def frames(self) -> list[bytes]:
        """Return what is unsent, as messages."""
        if not self._unsent:
            return []
        unsent, self._unsent = self._unsent, []
        frames = self._words(unsent) if self._last_words else []
        done = [item for item in unsent if type(item) is DoneItem]
        if done:
            frames += encode_batch(Done(done))
        if len(done) < len(unsent):
            frames += _exceptions(unsent)
        return frames

    def _words(self, unsent: Iterable[Outcome]) -> list[bytes]:
        words = [self._last_words[key] for o in unsent if (key := (o.task, o.attempt)) in self._last_words]
        return encode_batch(Progress(words)) if words else []


def _exceptions(outcomes: list[Outcome]) -> list[bytes]:
    frames: list[bytes] = []
    if failed := [item for item in outcomes if isinstance(item, FailItem)]:
        frames += encode_batch(Fail(failed))
    if released := [item for item in outcomes if isinstance(item, ReleaseItem)]:
        frames += encode_batch(Release(released))
    return frames


class LatestProgress:
    """Coalesces progress: the latest of each attempt, one sending per interval."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._wake = wake
        self._fresh: dict[Key, ProgressItem] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._due = False
        self._next_at = 0.0

    def note(self, attempt: Attempt, item: ProgressItem) -> None:
        """Take one report of an attempt; nobody waits for one of an attempt the server took back."""
        if attempt.ending in (Ending.CANCELLED, Ending.DROPPED):
            return
        attempt.progress = merged(attempt.progress, item)
        self._fresh[attempt.key] = merged(self._fresh.get(attempt.key), item)
        if self._timer is None and not self._due:
            delay = max(0.0, self._next_at - self._loop.time())
            self._timer = self._loop.call_later(delay, self._ring)

    def last_word(self, attempt: Attempt) -> ProgressItem | None:
        """Return what has not been told of an attempt that ends, and forget it."""
        return self._fresh.pop(attempt.key, None)

    def tell_again(self, attempts: Iterable[Attempt]) -> None:
        """Have all that is known of these attempts told on the new connection."""
        self._fresh = {attempt.key: attempt.progress for attempt in attempts if attempt.progress}
        self._due = bool(self._fresh)

    def frames(self) -> list[bytes]:
        """Return the progress that is due, as messages."""
        if not self._due:
            return []
        self._due = False
        self._next_at = self._loop.time() + INTERVAL
        items, self._fresh = list(self._fresh.values()), {}
        return encode_batch(Progress(items)) if items else []

    def close(self) -> None:
        """Forget everything."""
        self._fresh.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _ring(self) -> None:
        self._timer = None
        self._due = True
        self._wake()


def merged(known: ProgressItem | None, item: ProgressItem) -> ProgressItem:
    """Return the later item with what it leaves open filled in from the earlier."""
    if known is None:
        return item
    return ProgressItem(
        item.task,
        item.attempt,
        known.percent if item.percent is UNSET else item.percent,
        known.message if item.message is UNSET else item.message,
        known.data if item.data is UNSET else item.data,
    )
