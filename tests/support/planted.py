"""Bugs that are planted on purpose: the simulation is only worth something if it finds each of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from unittest import mock

from workstation.dispatch.claimer import Claimer
from workstation.dispatch.floor import Floor
from workstation.dispatch.session import Session
from workstation.dispatch.settler import Settler
from workstation.dispatch.submitter import Submitter
from workstation.domain.errors import Unavailable
from workstation.domain.tasks import OutcomeKind
from workstation.services.queue import Accepted
from workstation_sdk.reports import Outcomes


def credit_leaks() -> AbstractContextManager[Any]:
    """Credit is not given back after a claim round that failed, nor after a submit that handed nothing over."""
    claim_once = Claimer.claim_once

    async def leaking(claimer: Claimer) -> bool:
        before = {session: session.credit for session in claimer._floor}
        try:
            return await claim_once(claimer)
        except BaseException:
            for session in before:
                session.credit = min(session.credit, 0)
            raise

    return mock.patch.multiple(Claimer, claim_once=leaking)


def handed_credit_leaks() -> AbstractContextManager[Any]:
    """Credit that a submit spoke for in vain is not given back."""
    return mock.patch.object(Submitter, "_give_back", lambda *_: None)


def marks_are_not_compared() -> AbstractContextManager[Any]:
    """A lane is unmarked although it was marked again during the look."""
    return mock.patch.object(Floor, "unmark", lambda floor, lane, _seen: floor._marked.pop(lane, None))


@contextmanager
def settled_before_commit() -> Iterator[None]:
    """A result is answered first and written afterwards."""
    report_all = Settler.report_all

    async def hasty(settler: Settler, reports: Any) -> Any:
        if reports[0].kind is not OutcomeKind.COMPLETED:
            return await report_all(settler, reports)
        later = asyncio.ensure_future(report_all(settler, reports))
        later.add_done_callback(lambda done: done.cancelled() or done.exception())
        return [Accepted("completed") for _ in reports]

    with mock.patch.object(Settler, "report_all", hasty):
        yield


@contextmanager
def creates_are_repeated() -> Iterator[None]:
    """A create whose connection broke is done again, though nobody knows whether it was done."""
    run = Submitter._run

    async def again(submitter: Submitter, submit: Any, units: Any) -> Any:
        try:
            return await run(submitter, submit, units)
        except Unavailable:
            return await run(submitter, submit, units)

    with mock.patch.object(Submitter, "_run", again):
        yield


def outcomes_are_forgotten() -> AbstractContextManager[Any]:
    """An outcome whose answer was lost with its connection is not sent on the next one."""
    return mock.patch.object(Outcomes, "send_again", lambda outcomes: outcomes._unsent.clear())


def slots_are_kept() -> AbstractContextManager[Any]:
    """A late report of an attempt that is not held any more frees another slot."""

    def let_go(session: Session, task_id: int, _attempt: int) -> bool:
        session.held.pop(task_id, None)
        session.suspects.discard(task_id)
        return True

    return mock.patch.object(Session, "let_go", let_go)


PLANTED: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    plant.__name__: plant
    for plant in (
        credit_leaks,
        handed_credit_leaks,
        marks_are_not_compared,
        settled_before_commit,
        creates_are_repeated,
        outcomes_are_forgotten,
        slots_are_kept,
    )
}
