"""The supervisor: looks at every agent that is run from here, decides with the domain, and carries it out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID, uuid4

import structlog

from workstation.domain import agent_lifecycle, restarts
from workstation.domain.agent_lifecycle import AgentState, AgentStatus, Copy, Seen
from workstation.domain.errors import Refusal, Unavailable
from workstation.domain.restarts import RestartPolicy
from workstation.runtimes.commands import limits_of
from workstation.runtimes.driver import CopyState, Driver, Handle, LaunchSpec, RuntimeFailure
from workstation.runtimes.driver import Observation as CopySeen
from workstation.runtimes.table import driver_named
from workstation.services import supervision
from workstation.store.agents import Observation
from workstation.store.database import Database, Row

GRACE = timedelta(seconds=20)
_log = structlog.get_logger(__name__)


class IssueToken(Protocol):
    """Makes the token of one launch of an agent; it is revoked when the launch ends."""

    def __call__(self, agent_id: int, launch_id: UUID) -> Awaitable[str]: ...


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a started agent needs to know and where it may write.

    url is where it reaches us, or several addresses of replicas separated by commas.
    """

    node_id: UUID
    url: str
    log_path: Callable[[int, str], Path]
    issue_token: IssueToken
    env: Mapping[str, str] = field(default_factory=dict)


class Supervisor:
    """Brings about what was ordered and keeps it so. Each agent is acted on by one task at a time."""

    def __init__(
        self,
        database: Database,
        drivers: Mapping[str, Driver],
        surroundings: Surroundings,
        changed: Callable[[], Awaitable[None]],
        policy: RestartPolicy | None = None,
    ) -> None:
        self._database = database
        self._drivers = drivers
        self._here = surroundings
        self._changed = changed
        self._policy = policy or RestartPolicy()
        self._acting: dict[int, asyncio.Task[None]] = {}
        self._watching: dict[UUID, asyncio.Task[None]] = {}
        self._hurried: dict[UUID, asyncio.Task[bool]] = {}
        self._nudge: Callable[[], None] = lambda: None
        self._going_down = False

    def nudged_by(self, nudge: Callable[[], None]) -> None:
        """Call nudge when a copy ends or an action is done, so that the next look comes at once."""
        self._nudge = nudge

    async def supervise_once(self) -> int:
        """Look at every supervised agent and begin what there is to do; waits for nothing that takes long."""
        if self._going_down:
            return 0
        # What is acted on while the rows are read may be done before its turn comes: such a row tells of the past.
        busy = set(self._acting)
        for row in await supervision.list_supervised(self._database, self._here.node_id):
            elsewhere = row["launch_id"] is not None and row["node_id"] != self._here.node_id
            if elsewhere:
                continue
            if row["id"] in busy:
                self._hurry(row)
            else:
                await self._look_safely_at(row)
        return 0

    def runs(self, launch_id: UUID | None) -> bool:
        """Whether a launch is a copy that is watched from here."""
        return launch_id in self._watching

    async def close(self) -> None:
        """Stop watching; copies keep running."""
        tasks = [*self._acting.values(), *self._watching.values(), *self._hurried.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def stop_all(self) -> None:
        """Stop every copy of this node, at once and side by side: the server goes down, nothing is started again."""
        self._going_down = True
        # A start under way has no handle yet to stop it by.
        await asyncio.gather(*self._acting.values(), return_exceptions=True)
        rows = await supervision.list_supervised(self._database, self._here.node_id)
        ours = [r for r in rows if r["launch_id"] is not None and r["node_id"] == self._here.node_id]
        await asyncio.gather(*(self._stop_with_us(row) for row in ours))

    async def _stop_with_us(self, row: Row) -> None:
        """Stop one copy; it stays wanted, so that the next start of the server starts it again."""
        if await self._end(row, "the server stopped", force=False):
            await self._observe(row, Observation("stopped", "the server stopped", None, []))

    # -- looking --------------------------------------------------------------------------------------------------

    async def _look_safely_at(self, row: Row) -> None:
        """One agent that cannot be looked at does not keep the others from being looked at."""
        try:
            await self._look_at(row)
        except Unavailable:
            raise
        except Exception:  # noqa: BLE001 - the others are looked at all the same
            _log.exception("look_failed", agent=row["name"])

    async def _look_at(self, row: Row) -> None:
        action = agent_lifecycle.next_action(await self._state_of(row), self._policy)
        match action:
            case agent_lifecycle.Nothing():
                return
            case agent_lifecycle.BeRunning():
                await supervision.ready(self._database, row)
                await self._changed()
            case _:
                self._act(row, action)

    async def _state_of(self, row: Row) -> AgentState:
        return AgentState(
            desired_running=row["desired_status"] == "running",
            status=AgentStatus(row["status"]),
            copy=None if row["launch_id"] is None else await self._copy_of(row),
            starts=row["start_attempts"],
            next_start_at=row["next_start_at"],
            unhealthy_since=row["unhealthy_since"],
            force_stop=row["force_stop"],
            restart_at=row["restart_at"],
            now=row["now"],
        )

    async def _copy_of(self, row: Row) -> Copy:
        seen, because = await self._inspect(row)
        last_alive = row["now"] if row["alive"] else row["last_ended_at"]
        return Copy(
            seen,
            because,
            row["launch_status"] == "stopping",
            bool(row["alive"]),
            row["launch_started_at"],
            last_alive,
        )

    async def _inspect(self, row: Row) -> tuple[Seen, str]:
        if row["handle"] is None:
            return Seen.ENDED, "its start was interrupted"
        handle: Handle = json.loads(row["handle"])
        try:
            driver = driver_named(self._drivers, row["driver"])
            observed = await driver.inspect(handle)
        except RuntimeFailure as failure:
            _log.warning("not_seen", agent=row["name"], reason=failure.reason)
            return Seen.UNKNOWN, ""
        match observed.state:
            case CopyState.RUNNING:
                self._watch(row["launch_id"], driver, handle)
                return Seen.RUNNING, ""
            case CopyState.UNKNOWN:
                return Seen.UNKNOWN, ""
            case _:
                return Seen.ENDED, how_it_ended(observed)

    def _watch(self, launch_id: UUID, driver: Driver, handle: Handle) -> None:
        """Hear of the end of a copy when it comes, not at the next look."""
        if launch_id not in self._watching:
            self._watching[launch_id] = asyncio.create_task(self._wait(launch_id, driver, handle))

    async def _wait(self, launch_id: UUID, driver: Driver, handle: Handle) -> None:
        try:
            await driver.wait(handle)
        except RuntimeFailure as failure:
            _log.warning("watch_ended", launch=str(launch_id), reason=failure.reason)
        finally:
            del self._watching[launch_id]
            self._nudge()

    # -- acting ---------------------------------------------------------------------------------------------------

    def _act(self, row: Row, action: agent_lifecycle.Action) -> None:
        if self._going_down:
            return
        task = asyncio.create_task(self._carry_out(row, action), name=f"{row['name']}: {type(action).__name__}")
        self._acting[row["id"]] = task

    def _hurry(self, row: Row) -> None:
        """An order to stop by force does not wait for a stop with grace that is under way."""
        launch_id = row["launch_id"]
        if row["force_stop"] and row["handle"] is not None and launch_id not in self._hurried:
            task = asyncio.create_task(self._end(row, "stop by force was asked for", force=True))
            self._hurried[launch_id] = task
            task.add_done_callback(lambda _: self._hurried.pop(launch_id, None))

    async def _carry_out(self, row: Row, action: agent_lifecycle.Action) -> None:
        try:
            match action:
                case agent_lifecycle.Start():
                    await self._start(row)
                case agent_lifecycle.Stop(reason, force, failed):
                    await self._stop(row, reason, force=force, failed=failed)
                case agent_lifecycle.BeStopped(reason):
                    await self._end_open_launch(row, reason)
                    await self._observe(row, Observation("stopped", reason))
                case restarts.Retry(reason, _) | restarts.GiveUp(reason):
                    await self._end_open_launch(row, reason)
                    await self._failed(row, action)
        except Unavailable:
            _log.warning("database_away", agent=row["name"], during=type(action).__name__)
        except Refusal as refusal:
            _log.warning("not_done", agent=row["name"], during=type(action).__name__, reason=refusal.message)
        except Exception:  # noqa: BLE001 - the next look finds what it left, and decides anew
            _log.exception("action_failed", agent=row["name"], during=type(action).__name__)
        finally:
            del self._acting[row["id"]]
            await self._tell_changed()

    async def _tell_changed(self) -> None:
        try:
            await self._changed()
        except Unavailable:
            # The poll of the registry finds the change when the database is back.
            _log.warning("database_away", during="roster refresh")
        self._nudge()

    async def _start(self, row: Row) -> None:
        launch_id = uuid4()
        starts = [start for start in row["start_attempts"] if row["now"] - start < self._policy.window]
        starts.append(row["now"])
        if not await supervision.open_launch(self._database, row, launch_id, self._here.node_id, starts):
            return
        try:
            driver = driver_named(self._drivers, row["runtime"])
            handle = await driver.start(await self._launch_spec(row, launch_id))
        except RuntimeFailure as failure:
            await supervision.end_launch(self._database, launch_id, None, failure.reason)
            await self._start_failed(row, failure, starts)
            return
        try:
            kept = await supervision.keep_handle(self._database, launch_id, self._here.node_id, json.dumps(handle))
        except Unavailable:
            # Without its handle nobody would ever find this copy again.
            await driver.stop(handle, timedelta())
            raise
        if not kept:
            # We were away for so long that another replica has taken the start for interrupted.
            await driver.stop(handle, timedelta())
            return
        self._watch(launch_id, driver, handle)

    async def _launch_spec(self, row: Row, launch_id: UUID) -> LaunchSpec:
        run: dict[str, Any] = json.loads(row["spec"]) if row["spec"] is not None else {}
        token = await self._here.issue_token(row["id"], launch_id)
        env = {
            **self._here.env,
            "WORKSTATION_URL": self._here.url,
            "WORKSTATION_TOKEN": token,
            "WORKSTATION_AGENT_ID": str(row["id"]),
            "WORKSTATION_AGENT_NAME": row["name"],
        }
        log_path = self._here.log_path(row["id"], row["name"])
        return LaunchSpec(launch_id, row["id"], row["name"], run, log_path, env, limits_of(run))

    async def _start_failed(self, row: Row, failure: RuntimeFailure, starts: list[Any]) -> None:
        if not failure.retryable:
            # Nothing but a new order, or a changed agent, can make this start succeed.
            await self._observe(row, Observation("error", failure.reason))
            return
        await self._failed(row, restarts.after_failure(starts, row["now"], failure.reason, self._policy))

    async def _failed(self, row: Row, action: restarts.Retry | restarts.GiveUp) -> None:
        if isinstance(action, restarts.Retry):
            await self._observe(row, Observation("error", action.reason, action.next_start_at))
        else:
            await self._observe(row, Observation("stopped", action.reason, desired_status="stopped"))

    async def _stop(self, row: Row, reason: str, *, force: bool, failed: bool) -> None:
        await supervision.stopping(self._database, row, reason)
        await self._changed()
        if not await self._end(row, reason, force=force):
            return
        if failed:
            starts = row["start_attempts"]
            await self._failed(row, restarts.after_failure(starts, row["now"], reason, self._policy))
        elif row["desired_status"] == "running":
            await self._observe(row, Observation("starting", reason))
        else:
            await self._observe(row, Observation("stopped", reason))

    async def _end(self, row: Row, reason: str, *, force: bool) -> bool:
        """Stop the copy and end its launch; false when the driver could not, which the next look tries again."""
        observed: CopySeen | None = None
        if row["handle"] is not None:
            try:
                driver = driver_named(self._drivers, row["driver"])
                observed = await driver.stop(json.loads(row["handle"]), timedelta() if force else GRACE)
            except RuntimeFailure as failure:
                _log.warning("stop_failed", agent=row["name"], reason=failure.reason)
                return False
        code = observed.code if observed is not None else None
        await supervision.end_launch(self._database, row["launch_id"], code, reason)
        return True

    async def _end_open_launch(self, row: Row, reason: str) -> None:
        if row["launch_id"] is not None:
            await self._end(row, reason, force=True)

    async def _observe(self, row: Row, seen: Observation) -> None:
        await supervision.observe(self._database, row["id"], seen, row["generation"])


def how_it_ended(observed: CopySeen) -> str:
    """One phrase for how a copy ended."""
    if observed.signal is not None:
        return f"it was killed by signal {observed.signal}"
    if observed.code is not None:
        return f"it exited with code {observed.code}"
    return "it is gone" if observed.state is CopyState.GONE else "it exited"
