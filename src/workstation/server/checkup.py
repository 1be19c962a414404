"""What `workstation doctor` is told by a server: its own state, then what it finds in the database."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from workstation.dispatch.wakeups import ECHO_SECONDS, Wakeups
from workstation.domain.errors import Unavailable
from workstation.domain.explain import in_words
from workstation.domain.findings import Examined, Finding, ok, problem, warning
from workstation.engine.loop import Loop
from workstation.services import examination
from workstation.store import examination as store
from workstation.store.database import Database

SLOW_WAIT: Final = timedelta(milliseconds=500)
MANY_OPENINGS: Final = 3
LATE_LOOP: Final = timedelta(seconds=60)
GIB: Final = 1024**3
LOW_GIB: Final = 5
LEAST_GIB: Final = 1


@dataclass(frozen=True, slots=True)
class Checkup:
    """Examines one replica and its database. loops() are those that run."""

    database: Database
    wakeups: Wakeups
    folder: Path
    loops: Callable[[], Sequence[Loop]]

    async def examine(self) -> Examined:
        """Everything, whatever of it works."""
        now = None
        found = [*self._pool(), *self._kept(), *self._loops(), *disk(self.folder)]
        try:
            found += await self._listener()
            async with self.database.session() as connection:
                found += await examination.examine(connection)
                now = await store.clock(connection)
        except Unavailable as error:
            found.append(problem("database", f"It could not be examined: {error.message}"))
        return Examined(tuple(found), now)

    async def _listener(self) -> list[Finding]:
        where = "hints of other replicas"
        if not self.database.can_listen:
            return [
                warning(
                    "listener",
                    f"A pooler stands at DATABASE_URL, so {where} do not come and work is looked for four times a "
                    "second: set DATABASE_DIRECT_URL to the database itself.",
                )
            ]
        took = await self.wakeups.echo()
        if took is None or not self.wakeups.hears:
            silence = self.wakeups.silent_for
            last = "none has come since the start" if silence is None else f"the last came {in_words(silence)} ago"
            return [
                problem(
                    "listener",
                    f"A notification to ourselves does not come within {ECHO_SECONDS:g} s ({last}), so {where} are not "
                    "heard and work is looked for instead: look into the log for why, and whether DATABASE_DIRECT_URL "
                    "leads to the same database without a pooler.",
                )
            ]
        pooled = " past the pooler" if self.database.pooled else ""
        return [ok("listener", f"A notification to ourselves comes after {took * 1000:.0f} ms{pooled}.")]

    def _pool(self) -> Iterator[Finding]:
        use = self.database.pool_use
        text = (
            f"In the last ten minutes {use.waits} waited for a connection of the pool of {use.size}, "
            f"the longest for {in_words(use.longest)}, {use.in_vain} in vain"
        )
        advice = "raise WORKSTATION_POOL_SIZE, or see what keeps the database busy"
        if use.in_vain:
            yield problem("pool", f"{text}: {advice}.")
        elif use.longest > SLOW_WAIT:
            yield warning("pool", f"{text}: {advice}.")
        else:
            yield ok("pool", f"{use.taken} of {use.size} connections are taken, nobody waits long.")

    def _kept(self) -> Iterator[Finding]:
        often = {name: n for name, n in self.database.openings().items() if n >= MANY_OPENINGS}
        if often:
            names = ", ".join(f"{name} {n} times" for name, n in often.items())
            yield warning(
                "kept connections",
                f"Opened again in the last ten minutes: {names}; each time what was under way is done again: see in "
                "the logs of the database, or of what stands between, who cuts them.",
            )
        else:
            yield ok("kept connections", "They stay open.")

    def _loops(self) -> Iterator[Finding]:
        failing = [status for loop in self.loops() if (status := loop.status).last_error is not None]
        for status in failing:
            since = f"for {in_words(status.idle_for)}" if status.idle_for else "since the start"
            late = status.idle_for is None or status.idle_for > LATE_LOOP
            level = problem if late else warning
            yield level("loops", f"The loop `{status.name}` has not ended well {since}: {status.last_error}")
        if not failing:
            yield ok("loops", f"All {len(self.loops())} run.")


def disk(folder: Path) -> Iterator[Finding]:
    """Whether there is room where the data folder is."""
    free = shutil.disk_usage(folder).free / GIB
    text = f"{free:.1f} GiB are free at {folder}"
    if free < LEAST_GIB:
        yield problem("server disk", f"Only {text}: free some space; a full disk refuses every task.")
    elif free < LOW_GIB:
        yield warning("server disk", f"{text}: that may not last long.")
    else:
        yield ok("server disk", f"{text}.")
