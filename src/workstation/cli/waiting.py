"""Waiting for tasks: progress on stderr, the result on stdout, and an exit code that tells how it ended."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from workstation.cli.exits import TASK_FAILED, Stopped
from workstation.cli.following import follow
from workstation.cli.output import Output, print_json
from workstation.cli.tables import Item
from workstation.cli.task_display import display, say_end
from workstation.cli.task_views import COLUMNS
from workstation_sdk.clock import monotonic

if TYPE_CHECKING:
    from workstation_sdk import Client


def await_tasks(client: Client, ids: Sequence[str], timeout: timedelta | None, output: Output) -> int:
    """Wait until all tasks are final, show what they came to, and return the exit code: 0, or 3 where one failed.

    One task: its result alone on stdout. `timeout` is for all together. Raises WaitTimedOut, NotFound, Stopped.
    """
    ends = None if timeout is None else monotonic() + timeout.total_seconds()
    tasks = []
    for task_id in ids:
        left = None if ends is None else timedelta(seconds=max(0.0, ends - monotonic()))
        task = _await(client, task_id, left)
        say_end(task, f"task {task_id}" if len(ids) > 1 else "")
        tasks.append(task)
    _show(tasks, output)
    return 0 if all(task["status"] == "completed" for task in tasks) else TASK_FAILED


def _await(client: Client, task_id: str, timeout: timedelta | None) -> Item:
    try:
        with display() as shown:
            for look in follow(client, task_id, timeout):
                shown.show(look)
    except KeyboardInterrupt:
        raise Stopped(
            f"Interrupted: task {task_id} goes on.\n"
            f"  workstation tasks wait {task_id}    waits for it again\n"
            f"  workstation tasks cancel {task_id}  ends it"
        ) from None
    return look.task


def _show(tasks: Sequence[Item], output: Output) -> None:
    if len(tasks) > 1:
        output.show_list(tasks, COLUMNS, "")
    elif not output.is_table:
        output.show_one(tasks[0], list)
    elif tasks[0]["status"] == "completed":
        print_json(tasks[0]["result"])
