"""Following a task until it is final: a look at least twice a second, and why it waits when it does."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from workstation.cli.connection import get
from workstation.cli.tables import Item
from workstation_sdk.clock import monotonic
from workstation_sdk.errors import WaitTimedOut

if TYPE_CHECKING:
    from workstation_sdk import Client

FINAL: Final = frozenset({"completed", "failed", "cancelled"})
LOOK_SECONDS: Final = 0.4
PATIENCE_SECONDS: Final = 2.0
ASK_WHY_SECONDS: Final = 5.0
# A server that restarts meanwhile has about ten seconds to come back.
PATIENT_TRIES: Final = 14


class Look(NamedTuple):
    """A task as it was at one look, and why it waits where that has been going on for a while."""

    task: Item
    why: str


def follow(client: Client, task_id: str, timeout: timedelta | None = None) -> Iterator[Look]:
    """Yield a look at the task now and then, the last one when it is final.

    Raises WaitTimedOut after `timeout`, NotFound where there is no such task.
    """
    began = monotonic()
    reasons = _Reasons(client, task_id, began)
    wait = 0.0
    while True:
        task = get(client, f"/api/agents/tasks/{task_id}", {"wait": f"{wait:.3f}"}, tries=PATIENT_TRIES)
        yield Look(task, reasons.of(task))
        if task["status"] in FINAL:
            return
        left = LOOK_SECONDS if timeout is None else timeout.total_seconds() - (monotonic() - began)
        if left <= 0:
            raise WaitTimedOut(
                f"task {task_id} is still {task['status']}: it goes on; `workstation tasks wait {task_id}` waits again."
            )
        wait = min(LOOK_SECONDS, left)


class _Reasons:
    """Asks why a task is pending, once it has been for a while, and not too often."""

    def __init__(self, client: Client, task_id: str, began: float) -> None:
        self._client = client
        self._path = f"/api/agents/tasks/{task_id}/explain"
        self._next = began + PATIENCE_SECONDS
        self._why = ""

    def of(self, task: Item) -> str:
        """Return one sentence about what holds the task, or nothing."""
        if task["status"] not in ("pending", "waiting"):
            self._why = ""
        elif monotonic() >= self._next:
            self._next = monotonic() + ASK_WHY_SECONDS
            self._why = _reason(get(self._client, self._path))
        return self._why


def _reason(explanation: Any) -> str:
    """The part of the summary behind "57 has been pending for 4m12s: "; nothing where nothing holds the task."""
    if not explanation.get("held_by"):
        return ""
    summary = str(explanation["summary"])
    return summary.partition(": ")[2] or summary
