"""Exit codes, and the one error that carries them: a sentence on stderr, then the code."""

from __future__ import annotations

from typing import IO, Any, Final

import click

FAILED: Final = 1
TASK_FAILED: Final = 3
UNREACHABLE: Final = 7
PARTIAL: Final = 8
WAIT_TIMED_OUT: Final = 124
INTERRUPTED: Final = 130

EXIT_CODES: Final = {
    0: "it worked",
    1: "it failed",
    2: "the command or one of its values is wrong",
    3: "the awaited task failed or was cancelled",
    4: "not allowed: no good token, or not for this",
    5: "no such agent, task or token",
    6: "the present state does not allow it, or the name is taken",
    7: "no server answers",
    8: "of many, some failed",
    75: "not now: try again later",
    124: "the task was not final in time; it goes on",
    130: "interrupted",
}


class Trouble(click.ClickException):
    """Something that ends the command: one sentence that says what to do, and the exit code."""

    def __init__(self, message: str, exit_code: int = FAILED) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc]  # click reads it from the instance

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the sentence to stderr."""
        click.echo(f"{click.style('Error:', fg='red')} {self.message}", file=file, err=True)


class Stopped(Trouble):
    """The user interrupted; the message says what goes on without them."""

    def __init__(self, message: str = "Interrupted.") -> None:
        super().__init__(message, INTERRUPTED)

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the sentence to stderr."""
        click.echo(self.message, file=file, err=True)
