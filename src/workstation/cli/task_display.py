"""How a followed task shows itself on stderr: one live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

from workstation.cli.following import Look
from workstation.cli.output import say
from workstation.cli.tables import Item, printable
from workstation.cli.times import instant, now, stopwatch
from workstation.domain.words import in_words
from workstation_sdk.clock import monotonic

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult


class Display(Protocol):
    """Shows looks at a task."""

    def show(self, look: Look) -> None:
        """Show this one in place of those before."""


@contextmanager
def display() -> Iterator[Display]:
    """Yield the display that fits stderr."""
    if not sys.stderr.isatty():
        yield PlainLines()
        return
    from rich.console import Console
    from rich.live import Live

    with Live(console=Console(stderr=True), transient=True, refresh_per_second=10) as live:
        line = LiveLine()
        live.update(line)
        yield line


def describe(look: Look) -> str:
    """Return a task's state in words: `running, attempt 1/4  58%  reading page`."""
    task, progress = look.task, look.task.get("progress") or {}
    if task["status"] != "running":
        return printable("  ".join(word for word in (_waiting(task), look.why) if word))
    percent = progress.get("percent")
    words = [
        f"running, attempt {task['retry_count'] + 1}/{task['max_retries'] + 1}",
        "" if percent is None else f"{percent:.0f}%",
        progress.get("message") or "",
    ]
    return printable("  ".join(word for word in words if word))


def say_end(task: Item, name: str = "") -> None:
    """Tell how a final task ended: `✓ completed in 6.2 s`."""
    subject = f"{name} " if name else ""
    if task["status"] == "completed":
        say("✓", f"{subject}completed in {_took(task)}")
    elif task["status"] == "cancelled":
        say("✗", f"{subject}cancelled after {_took(task)}")
    else:
        error = task.get("error") or {}
        tries = f"{task['retry_count'] + 1} attempt" + ("s" if task["retry_count"] else "")
        say(
            "✗", printable(f"{subject}failed after {tries} in {_took(task)}: {error.get('message', 'no reason given')}")
        )


def _took(task: Item) -> str:
    began, ended = instant(task.get("created_at")), instant(task.get("completed_at"))
    if began is None or ended is None:
        return "no time"
    seconds = (ended - began).total_seconds()
    return f"{seconds:.1f} s" if seconds < 60 else in_words(ended - began)


def _waiting(task: Item) -> str:
    if not task.get("retry_count"):
        return str(task["status"])
    error = (task.get("error") or {}).get("message", "")
    due = instant(task.get("run_at"))
    soon = f" in {in_words(due - now())}" if due is not None and due > now() else ""
    return f"{task['status']}, retry {task['retry_count']}/{task['max_retries']}{soon}" + (
        f": {error}" if error else ""
    )


class PlainLines:
    """One line for each change."""

    def __init__(self) -> None:
        self._last: object = None

    def show(self, look: Look) -> None:
        """Print a line where something has changed."""
        task = look.task
        seen = (task["status"], task["attempt"], task.get("progress"), look.why)
        if seen != self._last and task["status"] in ("waiting", "pending", "running"):
            say("…", describe(look))
        self._last = seen


class LiveLine:
    """One line that turns, with a clock; rich draws it anew ten times a second."""

    def __init__(self) -> None:
        from rich.spinner import Spinner

        self._began = monotonic()
        self._spinner = Spinner("dots", style="cyan")
        self._words = ""

    def show(self, look: Look) -> None:
        """Show these words from the next turn on."""
        self._words = describe(look)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.text import Text

        clock = stopwatch(timedelta(seconds=monotonic() - self._began))
        words = Text(self._words)
        words.truncate(max(options.max_width - len(clock) - 4, 10), overflow="ellipsis")
        self._spinner.update(text=words + Text(f"  {clock}", style="dim"))
        yield self._spinner
