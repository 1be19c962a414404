"""One agent on a WebSocket: hello, then frames both ways until it goes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from math import inf
from typing import Any, ParamSpec

import msgspec
import structlog

from workstation.api.gateway import frames, reports
from workstation.api.gateway.outbox import Outbox
from workstation.dispatch.dispatcher import Dispatcher
from workstation.dispatch.session import Session
from workstation.domain.errors import LeaseLost, Refusal, TooLarge, Unavailable, ValidationFailed
from workstation.domain.tasks import Claim, Progress, Report
from workstation.services.instances import Hello
from workstation.services.queue import Accepted
from workstation.store.agents import HealthReport

GOING_AWAY = 1012
_RETRY_SECONDS = 0.3
# Less than three heartbeats, after which a report counts as old.
_SAME_HEALTH_SECONDS = 8.0
_encode = msgspec.json.encode
P = ParamSpec("P")
_log = structlog.get_logger(__name__)


class AgentSocket:
    """Serves one connection after its hello. receive_text returns None when the peer has gone."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        hello: Hello,
        slots: int,
        receive_text: Callable[[], Awaitable[str | None]],
        outbox: Outbox,
    ) -> None:
        self._dispatcher = dispatcher
        self._outbox = outbox
        self._receive_text = receive_text
        self._background: set[asyncio.Task[None]] = set()
        self._telling: dict[tuple[int, int], asyncio.Task[None]] = {}
        self._said_bye = False
        agent = dispatcher.roster.find(hello.agent_id)
        self._kept_health: tuple[str, float] = ("" if agent is None else agent.health_status, -inf)
        self._missed: set[tuple[int, int]] = set()
        self.session = Session(
            hello.instance_id,
            hello.agent_id,
            slots,
            deliver=outbox.tasks,
            cancel=outbox.cancel,
            close=outbox.close,
            drain=self._drain,
            region=hello.region,
            launch_id=hello.launch_id,
            types=None if hello.task_types is None else frozenset(msgspec.json.decode(hello.task_types)),
        )

    async def serve(self, held: Sequence[Claim], holding: Sequence[frames.Held]) -> None:
        """Work until the peer goes, then leave the instance the grace it has to come back."""
        session = self.session
        self._restore(held, holding)
        self._dispatcher.join(session)
        try:
            while not self._said_bye:
                try:
                    text = await self._receive_text()
                except UnicodeDecodeError as error:
                    self._outbox.problem("validation_failed", f"This frame is not text in UTF-8: {error}.")
                    continue
                if text is None:
                    break
                self._dispatcher.heard(session)
                self._take(text)
        finally:
            self._dispatcher.leave(session)
            await self._leave()

    def _restore(self, held: Sequence[Claim], holding: Sequence[frames.Held]) -> None:
        """What both sides know is held, what the agent lacks is sent again, what it lost is cancelled."""
        session = self.session
        listed = {(int(item.task), item.attempt) for item in holding}
        known = {(claim.task_id, claim.attempt) for claim in held}
        session.hold(held)
        session.credit = session.slots - len(session.held)
        if missing := [claim for claim in held if (claim.task_id, claim.attempt) not in listed]:
            self._outbox.tasks(missing)
        if lost := sorted(listed - known):
            self._outbox.cancel(lost, "lease_lost")

    async def _leave(self) -> None:
        instance_id = self.session.instance_id
        try:
            if self._said_bye:
                # What a claim under way gives to a session that is gone goes back unharmed.
                await self._dispatcher.claimer.between_rounds()
                await self._finish_background()
                await self._release_held()
                await self._dispatcher.leases.goodbye(instance_id, "said goodbye")
            elif self._outbox.closing is not None and self._outbox.closing[0] == GOING_AWAY:
                # It was sent away. How long it takes to reach another server is not its fault.
                await self._dispatcher.leases.renew_now(instance_id, self.session.agent_id)
            else:
                await self._dispatcher.leases.disconnected(instance_id)
        except Unavailable:
            _log.warning("lease_not_shortened", instance=str(instance_id))
        for task in self._background:
            task.cancel()

    async def _finish_background(self) -> None:
        if self._background:
            await asyncio.wait(list(self._background), timeout=2)

    async def _release_held(self) -> None:
        held = list(self.session.held.items())
        if held:
            await self._dispatcher.settler.report_all(
                [reports.released(task_id, attempt, self.session.instance_id) for task_id, attempt in held]
            )

    # -- frames ---------------------------------------------------------------------------------------------------

    def _take(self, text: str) -> None:
        try:
            frame = frames.read_frame(text)
        except frames.UNREADABLE as error:
            self._misunderstood(text, error)
            return
        match frame:
            case frames.Done(items):
                self._complete(items)
            case frames.Progress(items):
                self._tell(items)
            case frames.Heartbeat():
                self._heartbeat(frame)
            case frames.Fail(items):
                instance_id = self.session.instance_id
                failed = [reports.failed(int(i.task), i.attempt, instance_id, i.error) for i in items]
                self._settle("fail", failed)
            case frames.Release(items):
                instance_id = self.session.instance_id
                self._settle("release", [reports.released(int(i.task), i.attempt, instance_id) for i in items])
            case frames.Credit(n):
                self._dispatcher.add_credit(self.session, n)
            case frames.Bye():
                self._said_bye = True

    def _misunderstood(self, text: str, error: Exception) -> None:
        if (salvaged := frames.salvage_done(text)) is not None:
            # One result that cannot be read fails its own attempt, not those it travels with.
            self._complete(salvaged.readable)
            reason = f"The result could not be read: {error}."
            unreadable = [reports.unreadable(item, self.session.instance_id, reason) for item in salvaged.unreadable]
            self._settle("done", unreadable, ValidationFailed.code)
            return
        try:
            kind = frames.read_kind(text).kind
        except frames.UNREADABLE:
            kind = None
        if kind is None or kind in frames.KINDS:
            self._outbox.problem("validation_failed", f"This frame could not be read: {error}.")

    def _complete(self, items: Sequence[frames.DoneItem]) -> None:
        instance_id = self.session.instance_id
        finished: list[Report] = []
        oversized: list[Report] = []
        for item in items:
            report = reports.completed(int(item.task), item.attempt, instance_id, item.result, item.usage)
            (finished if report.error is None else oversized).append(report)
        self._settle("done", finished)
        self._settle("done", oversized, TooLarge.code)

    def _settle(self, kind: str, settled: list[Report], refused_as: str | None = None) -> None:
        """Settle reports; refused_as is the answer to those that became failures on their way."""
        if not settled:
            return
        for report in settled:
            self.session.settling.add((report.task_id, report.attempt))
            self._dispatcher.returned(self.session, report.task_id, report.attempt)
        self._later(self._report, kind, settled, refused_as)

    async def _report(self, kind: str, settled: list[Report], refused_as: str | None) -> None:
        """Settle, and answer only what is committed or refused for good; while the database is away, try again."""
        # A checkpoint that came before the end of its attempt is for the next one.
        if self._telling and (told := {self._telling[key] for key in map(_key, settled) if key in self._telling}):
            await asyncio.wait(told)
        while True:
            try:
                answers = await self._dispatcher.settler.report_all(settled)
                break
            except Unavailable:
                await asyncio.sleep(_RETRY_SECONDS)
        self.session.settling.difference_update((report.task_id, report.attempt) for report in settled)
        self._outbox.settled(
            [_settled(kind, refused_as, report, answer) for report, answer in zip(settled, answers, strict=True)]
        )

    def _tell(self, items: Sequence[frames.ProgressItem]) -> None:
        task = self._later(self._progress, items)
        keys = [(int(item.task), item.attempt) for item in items]
        self._telling.update(dict.fromkeys(keys, task))
        task.add_done_callback(lambda _: self._told(task, keys))

    def _told(self, task: asyncio.Task[None], keys: Sequence[tuple[int, int]]) -> None:
        for key in keys:
            if self._telling.get(key) is task:
                del self._telling[key]

    async def _progress(self, items: Sequence[frames.ProgressItem]) -> None:
        told = [reports.progressed(item, self.session.instance_id) for item in items]
        while True:
            answers = await asyncio.gather(*map(self._dispatcher.settler.progress, told), return_exceptions=True)
            if self.session.gone or not any(isinstance(answer, Unavailable) for answer in answers):
                break
            # A checkpoint is worth waiting for the database; written twice it says the same.
            await asyncio.sleep(_RETRY_SECONDS)
        lost = [_key(item) for item, answer in zip(told, answers, strict=True) if isinstance(answer, LeaseLost)]
        if lost:
            self._outbox.cancel([key for key in lost if key not in self.session.settling], "lease_lost")

    # -- heartbeats -----------------------------------------------------------------------------------------------

    def _heartbeat(self, frame: frames.Heartbeat) -> None:
        session = self.session
        if frame.healthStatus is not None:
            self._report_health(frame.healthStatus, frame.metadata)
        listed = {(int(item.task), item.attempt) for item in frame.holding}
        # Another replica may have ended an attempt of ours, and its hint may have been lost.
        shared = self._dispatcher.wakeups.others > 0
        if shared or session.doubtful or listed - session.settling != set(session.held.items()):
            self._later(self._reconcile_or_doubt, listed)

    def _report_health(self, word: str, metadata: dict[str, Any] | None) -> None:
        """Another word is kept at once; the same again is kept every other heartbeat, with those of other agents."""
        word_before, kept_at = self._kept_health
        if word == word_before and self.session.heard_at - kept_at < _SAME_HEALTH_SECONDS:
            return
        self._kept_health = (word, self.session.heard_at)
        report = HealthReport(self.session.agent_id, word, None if metadata is None else _encode(metadata).decode())
        if word == word_before:
            self._dispatcher.leases.note_health(report)
        else:
            self._later(self._health, report)

    async def _health(self, report: HealthReport) -> None:
        await self._dispatcher.leases.report_health(report)

    async def _reconcile_or_doubt(self, listed: set[tuple[int, int]]) -> None:
        """While the database is away the doubt stays: the next heartbeat asks again."""
        try:
            await self._reconcile(listed)
        except Unavailable:
            self.session.doubtful = True
            raise

    async def _reconcile(self, listed: set[tuple[int, int]]) -> None:
        """Compare with the database: what it holds and neither side knows is sent, what is lost is cancelled."""
        session = self.session
        session.doubtful = False
        held_before = set(session.held.items())
        known = await self._dispatcher.leases.attempts_of(session.instance_id)
        missing = known - set(session.held.items()) - session.settling - listed
        # A claim may be committed and on its way while the database answers: only what is missing twice is lost.
        confirmed, self._missed = missing & self._missed, missing - self._missed
        session.doubtful = session.doubtful or bool(self._missed)
        if confirmed:
            await self._send_again(confirmed)
        # Both were there before the database was asked, so they cannot be younger than its answer.
        if lost := sorted(listed - known - session.settling):
            self._outbox.cancel(lost, "lease_lost")
        for task_id, attempt in held_before - known:
            self._dispatcher.returned(session, task_id, attempt)

    async def _send_again(self, lost: set[tuple[int, int]]) -> None:
        held = await self._dispatcher.leases.held_by(self.session.instance_id)
        here = set(self.session.held.items()) | self.session.settling
        again = [claim for claim in held if (claim.task_id, claim.attempt) in lost - here]
        self.session.credit -= len(again)
        self.session.hold(again)
        self._outbox.tasks(again)

    def _drain(self, reason: str) -> None:
        self.session.draining = True
        self._outbox.drain(reason)
        self._later(self._dispatcher.leases.draining, [self.session.instance_id])

    def _later(self, work: Callable[P, Awaitable[None]], *given: P.args, **named: P.kwargs) -> asyncio.Task[None]:
        task = asyncio.ensure_future(_unless_away(work, *given, **named))
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task


async def _unless_away(work: Callable[P, Awaitable[None]], *given: P.args, **named: P.kwargs) -> None:
    try:
        await work(*given, **named)
    except Unavailable:
        _log.warning("database_away", during="agent frame")
    except Refusal as refusal:
        _log.warning("frame_refused", code=refusal.code, reason=refusal.message)


def _key(item: Report | Progress) -> tuple[int, int]:
    return item.task_id, item.attempt


def _settled(kind: str, refused_as: str | None, report: Report, answer: Accepted | Refusal) -> frames.SettledItem:
    item = frames.SettledItem(str(report.task_id), report.attempt, kind)
    if isinstance(answer, Refusal):
        item.code, item.error = answer.code, answer.message
    elif refused_as is not None and report.error is not None:
        item.code, item.error = refused_as, report.error.message
    else:
        item.status = answer.status
    return item
