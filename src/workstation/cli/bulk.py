"""One verb for many: several at a time, each outcome told at once, one exit code for all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from typing import Final

from workstation.cli.exits import PARTIAL, Stopped, Trouble
from workstation.cli.output import say
from workstation_sdk.errors import WorkstationError

AT_ONCE: Final = 8


def each(names: Sequence[str], verb: Callable[[str], str]) -> None:
    """Call `verb(name)`, which returns a sentence, for every name; tell on stderr how each went.

    One name: its error is raised as it is. Many: raises Trouble with exit code 8 where some failed; where all did,
    with the code they have in common, or 1.
    """
    distinct = list(dict.fromkeys(names))
    if len(distinct) == 1:
        say("✓", verb(distinct[0]))
        return
    errors = _all(distinct, verb)
    if errors:
        raise Trouble(f"{len(errors)} of {len(distinct)} failed: see above.", _code(errors, len(distinct)))


def _all(names: Sequence[str], verb: Callable[[str], str]) -> list[WorkstationError]:
    errors = []
    with ThreadPoolExecutor(AT_ONCE) as pool:
        pending = {pool.submit(verb, name): name for name in names}
        try:
            for count, done in enumerate(as_completed(pending), 1):
                error = _tell(f"[{count}/{len(names)}]", pending[done], done)
                if error is not None:
                    errors.append(error)
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            raise Stopped("Interrupted: what was already asked for goes on.") from None
    return errors


def _tell(count: str, name: str, done: Future[str]) -> WorkstationError | None:
    try:
        say("✓", f"{count} {done.result()}")
    except WorkstationError as error:
        say("✗", f"{count} {name}: {error.message}")
        return error
    return None


def _code(errors: Sequence[WorkstationError], of: int) -> int:
    if len(errors) < of:
        return PARTIAL
    codes = {error.exit_code for error in errors}
    return codes.pop() if len(codes) == 1 else 1
