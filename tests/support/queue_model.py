"""The queue as a plain model: what the contract says of tasks, in lists and dictionaries, one verb at a time.

The simulation runs on it, and stateful tests compare it with the real database step by step.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg

from workstation.dispatch.floor import lanes_of
from workstation.domain.assign import DEGRADED_WAIT, Head, Taker, assign
from workstation.domain.errors import Conflict, LeaseLost, NotFound, Refusal
from workstation.domain.settle import Held, settle
from workstation.domain.tasks import FINAL, MOVES, Claim, NewTask, OutcomeKind, Progress, Report, TaskStatus
from workstation.services.queue import KEY_CONFLICT, Accepted, Created, Round, Unit
from workstation.store.instances import Renewed
from workstation.store.tasks import Look

EPOCH = datetime(2030, 1, 1, tzinfo=UTC)
LEASE, GRACE = 15.0, 3.0


@dataclass
class Agent:
    """One agent of the registry."""

    id: int
    capabilities: frozenset[str] = frozenset()
    desired: str = "running"
    status: str = "running"
    health: str = "healthy"
    changed: int = 0

    @property
    def open(self) -> bool:
        """Whether it takes work."""
        return self.desired == "running" and self.status == "running" and self.health != "unhealthy"


@dataclass
class Instance:
    """One running copy and its lease."""

    id: UUID
    agent_id: int
    lease_until: float
    node: UUID | None = None
    status: str = "live"


@dataclass
class Attempt:
    """One attempt as the history keeps it."""

    number: int
    instance: UUID
    agent_id: int
    claimed_at: float
    deadline: float
    outcome: str | None = None
    ended_at: float | None = None


@dataclass
class Task:
    """One task with everything that ever happened to it."""

    id: int
    new: NewTask
    run_at: float
    created_at: float
    agent_id: int | None
    status: TaskStatus = TaskStatus.PENDING
    attempt: int = 0
    instance: UUID | None = None
    retry_count: int = 0
    lost_count: int = 0
    release_count: int = 0
    dead_letter: bool = False
    result: str | None = None
    checkpoint: str | None = None
    attempts: list[Attempt] = field(default_factory=list)
    events: list[str] = field(default_factory=lambda: ["task.created"])

    @property
    def lane(self) -> str:
        """Where it waits."""
        return f"c{self.new.capability}" if self.new.capability is not None else f"a{self.new.agent_id}"

    @property
    def version(self) -> int:
        """How often it changed: every change has its event."""
        return len(self.events)

    def move(self, status: TaskStatus, event: str) -> None:
        """Change the status, by a legal move only."""
        assert status in MOVES[self.status], f"task {self.id}: {self.status} to {status}"
        self.status = status
        self.events.append(event)


class QueueModel:
    """Every verb is done at once. now() is the database's clock in seconds since EPOCH."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        self.tasks: dict[int, Task] = {}
        self.agents: dict[int, Agent] = {}
        self.instances: dict[UUID, Instance] = {}
        self._last_id = 0
        self._changes = 0

    def at(self, seconds: float) -> datetime:
        """A moment as the database shows it."""
        return EPOCH + timedelta(seconds=seconds)

    # -- agents and instances -------------------------------------------------------------------------------------

    def add_agent(self, number: int, capabilities: Iterable[str] = ()) -> Agent:
        """Register an agent that runs."""
        self.agents[number] = Agent(number, frozenset(capabilities))
        self.touch(number)
        return self.agents[number]

    def touch(self, number: int) -> None:
        """Note that an agent's row changed."""
        self._changes += 1
        self.agents[number].changed = self._changes

    def changed_since(self, floor: int) -> tuple[list[Agent], int]:
        """The agents changed since, and where to go on."""
        return [agent for agent in self.agents.values() if agent.changed > floor], self._changes

    def hello(self, instance: UUID, agent_id: int, node: UUID | None = None) -> list[Claim]:
        """Let an instance in or back in, to this replica; what it holds."""
        agent = self.agents.get(agent_id)
        if agent is None:
            raise NotFound("There is no such agent; register it.")
        known = self.instances.get(instance)
        takes_work = agent.desired == "running"
        if known is None:
            if not takes_work:
                raise Conflict("The agent is stopped; start it.")
            self.instances[instance] = Instance(instance, agent_id, self.now() + LEASE, node)
            return []
        if known.status not in ("live", "draining") or known.agent_id != agent_id:
            raise LeaseLost("This instance is dead; come again as a new one.")
        known.lease_until, known.node = self.now() + LEASE, node
        if takes_work:
            known.status = "live"
        return self.held_by([instance])[instance]

    def renew(self, instances: Iterable[UUID]) -> dict[UUID, Renewed]:
        """Renew leases; who lives."""
        known = {i: self.instances[i] for i in instances if self._alive(i)}
        alive = {i: Renewed(each.node, each.status == "draining") for i, each in known.items()}
        for each in alive:
            self.instances[each].lease_until = self.now() + LEASE
        return alive

    def renew_own(self, instance: UUID, agent_id: int) -> bool:
        """Renew one lease if it is this agent's; whether it is."""
        return self._alive(instance) and self.instances[instance].agent_id == agent_id and bool(self.renew([instance]))

    def shorten(self, instances: Iterable[UUID], node: UUID | None = None) -> None:
        """Their sockets closed: those that have not come to another replica meanwhile."""
        for each in (i for i in instances if self._alive(i) and self.instances[i].node == node):
            self.instances[each].lease_until = min(self.instances[each].lease_until, self.now() + GRACE)

    def drain(self, instances: Iterable[UUID]) -> None:
        """They take nothing more."""
        for each in filter(self._alive, instances):
            self.instances[each].status = "draining"

    def goodbye(self, instances: Iterable[UUID]) -> None:
        """They have gone."""
        for each in filter(self._alive, instances):
            self.instances[each].status = "ended"

    def reap(self) -> list[UUID]:
        """Declare dead whose lease is over."""
        lapsed = [i for i in self.instances if self._alive(i) and self.instances[i].lease_until < self.now()]
        for each in lapsed:
            self.instances[each].status = "dead"
        return lapsed

    def _alive(self, instance: UUID) -> bool:
        return instance in self.instances and self.instances[instance].status in ("live", "draining")

    def _takes(self, instance: UUID, agent_id: int) -> bool:
        known = self.instances.get(instance)
        return known is not None and known.status == "live" and self.agents[agent_id].open

    # -- tasks come in and go out ---------------------------------------------------------------------------------

    def take_ids(self, n: int) -> list[int]:
        """Unused numbers."""
        first, self._last_id = self._last_id + 1, self._last_id + n
        return list(range(first, self._last_id + 1))

    def submit(self, units: Sequence[Unit], ids: Sequence[int]) -> list[list[Created] | Refusal]:
        """Create the tasks of each request, all or none."""
        left = iter(ids)
        return [self._submit_unit(unit, [next(left) for _ in unit.tasks]) for unit in units]

    def _submit_unit(self, unit: Unit, ids: Sequence[int]) -> list[Created] | Refusal:
        by_key = {(t.new.created_by, t.new.idempotency_key): t for t in self.tasks.values() if t.new.idempotency_key}
        created: list[Created] = []
        fresh: list[Task] = []
        for number, new, taker in zip(ids, unit.tasks, unit.takers, strict=True):
            kept = by_key.get((new.created_by, new.idempotency_key))
            if kept is not None:
                if kept.new.request_hash != new.request_hash:
                    return Conflict(KEY_CONFLICT)
                created.append(Created(kept.id, replayed=True))
                continue
            if new.agent_id is not None and new.agent_id not in self.agents:
                return NotFound("There is no such agent.")
            now = self.now()
            run_at = now if new.run_at is None else (new.run_at - EPOCH).total_seconds()
            task = Task(number, new, run_at, now, new.agent_id)
            if new.idempotency_key:
                by_key[new.created_by, new.idempotency_key] = task
            if number in self.tasks:
                raise asyncpg.UniqueViolationError(f"task {number} is there already")
            fresh.append(task)
            handed = None
            if taker is not None and self._takes(taker.instance_id, taker.agent_id):
                handed = self._hand(task, taker.instance_id, taker.agent_id)
            created.append(Created(number, handed=handed, wait_seconds=max(0.0, run_at - now)))
        self.tasks.update((task.id, task) for task in fresh)
        return created

    def _hand(self, task: Task, instance: UUID, agent_id: int) -> Claim:
        task.move(TaskStatus.RUNNING, "task.started")
        task.attempt += 1
        task.instance, task.agent_id = instance, agent_id
        now = self.now()
        task.attempts.append(Attempt(task.attempt, instance, agent_id, now, now + task.new.timeout_ms / 1000))
        return self._claim_of(task)

    def _claim_of(self, task: Task) -> Claim:
        assert task.instance is not None
        assert task.agent_id is not None
        return Claim(
            task.id,
            task.attempt,
            task.instance,
            task.agent_id,
            task.new.type,
            task.new.payload,
            task.new.priority,
            task.new.timeout_ms,
            self.at(task.attempts[-1].deadline),
            task.checkpoint,
            task.lost_count > 0,
        )

    def heads(self, looks: Sequence[Look]) -> list[Head]:
        """The next claimable tasks of each lane, as many as are wanted."""
        now, seen = self.now(), []
        for look in looks:
            due = [
                task
                for task in self.tasks.values()
                if task.lane == look.lane
                and task.status is TaskStatus.PENDING
                and task.run_at <= now
                and (look.suspects or task.lost_count == 0)
                and (look.types is None or task.new.type in look.types)
            ]
            due.sort(key=lambda task: (-task.new.priority, task.run_at, task.id))
            seen += [
                Head(t.id, t.lane, t.new.type, t.new.priority, timedelta(seconds=now - t.run_at), t.lost_count > 0)
                for t in due[: look.wanted]
            ]
        return seen

    def give(self, heads: Sequence[Head], looks: Sequence[Look], takers: Sequence[Taker]) -> Round:
        """Assign heads that were seen and write the claims, every gate asked once more."""
        given = assign(heads, takers)
        claims = []
        for head, taker in given.given:
            task = self.tasks[head.task_id]
            if task.status is not TaskStatus.PENDING or not self._takes(taker.instance_id, taker.agent_id):
                continue
            young = self.now() - task.run_at < DEGRADED_WAIT.total_seconds()
            if task.new.capability is not None and self.agents[taker.agent_id].health == "degraded" and young:
                continue
            claims.append(self._hand(task, taker.instance_id, taker.agent_id))
        seen, taken = Counter(head.lane for head in heads), {head.lane for head, _ in given.given}
        more = given.starved | given.blocked
        exhausted = {
            look.lane
            for look in looks
            if (seen[look.lane] < look.wanted and look.lane not in more)
            or (look.lane in given.blocked and look.lane not in taken)
        }
        return Round(claims, exhausted)

    def claim(self, looks: Sequence[Look], takers: Sequence[Taker]) -> Round:
        """A look and its claims, with nothing between."""
        return self.give(self.heads(looks), looks, takers)

    def lanes_of_instance(self, instance: UUID) -> frozenset[str]:
        """What an instance serves."""
        agent = self.agents[self.instances[instance].agent_id]
        return lanes_of(agent.id, agent.capabilities, None)

    def lanes_with_work(self) -> set[str]:
        """Where something is due."""
        now = self.now()
        return {t.lane for t in self.tasks.values() if t.status is TaskStatus.PENDING and t.run_at <= now}

    # -- attempts end ---------------------------------------------------------------------------------------------

    def _holds(self, said: Report | Progress) -> Task | None:
        task = self.tasks.get(said.task_id)
        if task is None or task.status is not TaskStatus.RUNNING:
            return None
        return task if (task.attempt, task.instance) == (said.attempt, said.instance_id) else None

    def report(self, reports: Sequence[Report], jitter: Callable[[], float]) -> list[Accepted | Refusal]:
        """End attempts under the fence; a report heard before is answered alike."""
        return [self._report(report, jitter()) for report in reports]

    def _report(self, report: Report, jitter: float) -> Accepted | Refusal:
        task = self._holds(report)
        if task is None:
            return self._judge_late(report)
        held = Held(task.retry_count, task.new.max_retries, task.lost_count, task.release_count, task.agent_id or 0)
        decided = settle(held, report, jitter)
        self._end(task, report.kind.value)
        pending = {OutcomeKind.RELEASED: "task.released", OutcomeKind.LOST: "task.lost"}.get(
            report.kind, "task.retried"
        )
        task.move(decided.status, pending if decided.status is TaskStatus.PENDING else f"task.{decided.status.value}")
        if decided.status is TaskStatus.COMPLETED:
            task.result = report.result
            return Accepted("completed")
        if decided.delay > timedelta():
            task.run_at = max(task.run_at, self.now() + decided.delay.total_seconds())
        task.retry_count, task.lost_count = decided.retry_count, decided.lost_count
        task.release_count, task.dead_letter = decided.release_count, decided.dead_letter
        if decided.status is TaskStatus.PENDING and task.new.capability is not None:
            task.agent_id = None
        wait = max(0.0, task.run_at - self.now())
        return Accepted(task.status.value, self.at(task.run_at), task.lane, wait)

    def _end(self, task: Task, outcome: str) -> None:
        last = task.attempts[-1]
        assert last.outcome is None, f"task {task.id}: attempt {last.number} ends twice"
        last.outcome, last.ended_at, task.instance = outcome, self.now(), None

    def _judge_late(self, report: Report) -> Accepted | Refusal:
        task = self.tasks.get(report.task_id)
        for attempt in task.attempts if task is not None else ():
            same = (attempt.number, attempt.instance, attempt.outcome)
            if task is not None and same == (report.attempt, report.instance_id, report.kind.value):
                return Accepted(task.status.value, self.at(task.run_at))
        return LeaseLost("This attempt is not held by this instance any more: drop it.")

    def progress(self, items: Sequence[Progress]) -> list[Refusal | None]:
        """Keep checkpoints under the fence."""
        answers: list[Refusal | None] = []
        for item in items:
            task = self._holds(item)
            if task is not None and item.data is not None:
                task.checkpoint = item.data
            answers.append(None if task is not None else LeaseLost("This attempt is not held any more."))
        return answers

    def cancel(self, number: int) -> tuple[int, UUID | None] | None:
        """Cancel what is not final: its attempt, and who held it."""
        task = self.tasks.get(number)
        if task is None or task.status in FINAL:
            return None
        held = task.instance
        if held is not None:
            self._end(task, "cancelled")
        task.move(TaskStatus.CANCELLED, "task.cancelled")
        return task.attempt, held

    def redrive(self, number: int) -> str | None:
        """Queue a failed task again; its lane."""
        task = self.tasks.get(number)
        if task is None or task.status is not TaskStatus.FAILED:
            return None
        task.move(TaskStatus.PENDING, "task.redriven")
        task.retry_count = task.lost_count = task.release_count = 0
        task.dead_letter, task.result, task.run_at = False, None, self.now()
        if task.new.capability is not None:
            task.agent_id = None
        return task.lane

    # -- looks ----------------------------------------------------------------------------------------------------

    def held_by(self, instances: Iterable[UUID]) -> dict[UUID, list[Claim]]:
        """What each instance holds."""
        wanted: dict[UUID, list[Claim]] = {instance: [] for instance in instances}
        for task in self.tasks.values():
            if task.instance in wanted:
                wanted[task.instance].append(self._claim_of(task))
        return wanted

    def orphans(self) -> list[tuple[int, int, UUID]]:
        """Attempts of the dead."""
        return [
            (t.id, t.attempt, t.instance) for t in self.tasks.values() if t.instance and not self._alive(t.instance)
        ]

    def overdue(self) -> list[tuple[int, int, UUID]]:
        """Attempts past their deadline."""
        now = self.now()
        return [
            (t.id, t.attempt, t.instance) for t in self.tasks.values() if t.instance and t.attempts[-1].deadline < now
        ]

    def check(self) -> None:
        """What holds at every moment."""
        for task in self.tasks.values():
            told = f"task {task.id}: {task}"
            assert (task.status is TaskStatus.RUNNING) == (task.instance is not None), told
            assert [a.number for a in task.attempts] == list(range(1, task.attempt + 1)), told
            opened = [a for a in task.attempts if a.outcome is None]
            assert len(opened) == (task.status is TaskStatus.RUNNING), told
            assert [a.outcome for a in task.attempts].count("completed") == (task.status == "completed"), told
            assert task.retry_count <= task.new.max_retries, told
            assert task.lost_count <= 3, told
            for earlier, later in zip(task.attempts, task.attempts[1:], strict=False):
                assert earlier.ended_at is not None, told
                assert earlier.ended_at <= later.claimed_at, f"two leases at once: {told}"
