"""`workstation down`: the end of the server that runs on the data folder."""

from __future__ import annotations

import os
import signal
import time
from datetime import timedelta
from typing import Final

import click

from workstation.cli.exits import WAIT_TIMED_OUT, Stopped, Trouble
from workstation.cli.local import find_holder
from workstation.cli.output import say
from workstation.cli.values import Duration
from workstation_sdk.clock import monotonic

LOOK_SECONDS: Final = 0.1


@click.command()
@click.option("--timeout", type=Duration(), default="60s", show_default=True, metavar="TIME", help="How long to wait.")
def down(timeout: timedelta) -> None:
    """Stop the server of the data folder.

    The agents it started stop with it: they finish or give back what they work on. Waits until all is gone.
    """
    holder = find_holder()
    if holder is None:
        say("✓", "nothing runs on this data folder")
        return
    if holder.pid <= 0:
        raise Trouble("The data folder is in use by a process that has not said which: try again in a moment.", 75)
    _ask(holder.pid)
    say("…", f"stopping process {holder.pid}: agents finish or give back what they work on")
    began = monotonic()
    try:
        while (left := find_holder()) is not None and left.pid == holder.pid:
            if monotonic() - began > timeout.total_seconds():
                raise Trouble(
                    f"Process {holder.pid} is still stopping: `workstation logs` tells what it does.", WAIT_TIMED_OUT
                )
            time.sleep(LOOK_SECONDS)
    except KeyboardInterrupt:
        raise Stopped(f"Interrupted: process {holder.pid} goes on stopping.") from None
    say("✓", f"stopped in {monotonic() - began:.1f} s")


def _ask(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        return
    except PermissionError:
        raise Trouble(f"Process {pid} belongs to another user: stop it as that user.", 4) from None
