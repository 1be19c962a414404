"""Any sequence of verbs, judged by what the contract says of retries, losses and finality, counted from the history."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule
from tests.support.queue_model import QueueModel

from workstation.domain.assign import Taker
from workstation.domain.errors import LeaseLost
from workstation.domain.tasks import Claim, NewTask, OutcomeKind, Report, TaskError, TaskStatus
from workstation.services.queue import Accepted, Unit
from workstation.store.tasks import Look

AGENTS = {1: ["c"], 2: ["c"], 3: []}


class TaskMachine(RuleBasedStateMachine):
    """The domain's decisions, applied by the plain model of the queue."""

    claims = Bundle("claims")

    def __init__(self) -> None:
        super().__init__()
        self.clock = 0.0
        self.model = QueueModel(lambda: self.clock)
        self.since: dict[int, list[str]] = {}
        for number, capabilities in AGENTS.items():
            self.model.add_agent(number, capabilities)
            self.model.hello(UUID(int=number), number)

    @rule(
        agent=st.sampled_from([1, 2, 3, None]),
        priority=st.integers(1, 10),
        retries=st.integers(0, 3),
        later=st.sampled_from([0, 35]),
    )
    def submit(self, agent: int | None, priority: int, retries: int, later: int) -> None:
        (number,) = self.model.take_ids(1)
        new = NewTask(
            "t",
            "{}",
            "alice",
            agent,
            None if agent else "c",
            priority,
            retries,
            45_000,
            self.model.at(self.clock + later) if later else None,
        )
        self.model.submit([Unit((new,), (None,))], [number])
        self.since[number] = []

    @rule(target=claims, credits=st.lists(st.integers(0, 3), min_size=3, max_size=3))
    def claim(self, credits: list[int]) -> object:
        takers = self._takers(credits)
        lanes = sorted({lane for taker in takers for lane in taker.lanes})
        before = {t.id: t.run_at for t in self.model.tasks.values() if t.status is TaskStatus.PENDING}
        round_ = self.model.claim([Look(lane, sum(credits)) for lane in lanes] if sum(credits) else [], takers)
        for claim in round_.claims:
            assert before[claim.task_id] <= self.clock, "a task that was not due"
            assert self.model.agents[claim.agent_id].open, "an agent that takes nothing"
        self._check_shares(round_.claims, credits)
        return multiple(*round_.claims)

    def _takers(self, credits: Sequence[int]) -> list[Taker]:
        living = [i for i in self.model.instances.values() if i.status == "live"][-3:]
        return [
            Taker(i.id, i.agent_id, self.model.lanes_of_instance(i.id), credit)
            for i, credit in zip(living, credits, strict=False)
        ]

    def _check_shares(self, claims: Sequence[Claim], credits: Sequence[int]) -> None:
        takers = self._takers(credits)
        for taker in takers:
            mine = [claim for claim in claims if claim.instance_id == taker.instance_id]
            assert len(mine) <= taker.credit
            assert sum(claim.suspect for claim in mine) <= 1, "two tasks that may kill their agent at once"
            lane = f"a{taker.agent_id}"
            own = [self.model.tasks[claim.task_id] for claim in mine]
            left = [
                t
                for t in self.model.tasks.values()
                if t.lane == lane and t.status is TaskStatus.PENDING and t.run_at <= self.clock and not t.lost_count
            ]
            if left and self.model.agents[taker.agent_id].open:
                assert len(mine) == taker.credit, "able, and something is due"
                best = min((-t.new.priority, t.run_at, t.id) for t in left)
                assert all((-t.new.priority, t.run_at, t.id) < best for t in own if t.lane == lane), "out of order"

    @rule(
        claim=claims,
        kind=st.sampled_from([k for k in OutcomeKind if k is not OutcomeKind.CANCELLED]),
        retryable=st.booleans(),
        jitter=st.floats(0, 1, exclude_max=True),
        after=st.sampled_from([None, timedelta(seconds=35)]),
    )
    def report(self, claim: Claim, kind: OutcomeKind, retryable: bool, jitter: float, after: timedelta | None) -> None:
        task = self.model.tasks[claim.task_id]
        held = (task.status, task.attempt, task.instance) == (
            TaskStatus.RUNNING,
            claim.attempt,
            claim.instance_id,
        )
        failed = kind in (OutcomeKind.FAILED, OutcomeKind.TIMED_OUT)
        error = TaskError("no", retryable=retryable, retry_after=after) if failed else None
        report = Report(claim.task_id, claim.attempt, claim.instance_id, kind, error=error)
        before, events = str(task), task.version
        (answer,) = self.model.report([report], lambda: jitter)
        if not held:
            repeated = task.attempts[claim.attempt - 1].outcome == kind.value
            assert isinstance(answer, Accepted if repeated else LeaseLost)
            assert str(task) == before, "a late report changed something"
            return
        assert task.version == events + 1
        self.since[task.id].append(kind.value)
        assert isinstance(answer, Accepted)
        assert answer.status == task.status.value == self._expected(task.id, kind, retryable)
        if failed and task.status is TaskStatus.PENDING:
            ceiling = min(2.0 ** (task.retry_count - 1), 300.0)
            waits = task.run_at - self.clock
            assert waits <= ceiling or (after is not None and waits <= 35) or task.attempts[0].claimed_at > self.clock

    def _expected(self, number: int, kind: OutcomeKind, retryable: bool) -> str:
        said = self.since[number]
        charged = sum(outcome in ("failed", "timed_out") for outcome in said)
        match kind:
            case OutcomeKind.COMPLETED:
                return "completed"
            case OutcomeKind.LOST:
                return "failed" if said.count("lost") >= 3 else "pending"
            case OutcomeKind.RELEASED:
                return "pending"
        return "pending" if retryable and charged <= self.model.tasks[number].new.max_retries else "failed"

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        if self.model.tasks:
            number = data.draw(st.sampled_from(sorted(self.model.tasks)))
            final = self.model.tasks[number].status in ("completed", "failed", "cancelled")
            assert (self.model.cancel(number) is None) == final

    @rule(data=st.data())
    def redrive(self, data: st.DataObject) -> None:
        if self.model.tasks:
            number = data.draw(st.sampled_from(sorted(self.model.tasks)))
            failed = self.model.tasks[number].status is TaskStatus.FAILED
            assert (self.model.redrive(number) is not None) == failed
            if failed:
                self.since[number] = []

    @rule(seconds=st.sampled_from([1.0, 10.0, 40.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock += seconds

    @rule()
    def reap(self) -> None:
        self.model.reap()
        for number, attempt, instance in self.model.orphans():
            self.model.report([Report(number, attempt, instance, OutcomeKind.LOST)], lambda: 0.0)
            self.since[number].append("lost")
        for number, attempt, instance in self.model.overdue():
            self.model.report([Report(number, attempt, instance, OutcomeKind.TIMED_OUT)], lambda: 0.0)
            self.since[number].append("timed_out")

    @rule(number=st.sampled_from([1, 2, 3]))
    def come(self, number: int) -> None:
        if self.model.agents[number].desired == "running":
            self.model.hello(UUID(int=1000 + len(self.model.instances)), number)

    @rule(number=st.sampled_from([1, 2, 3]), desired=st.sampled_from(["running", "stopped"]))
    def order(self, number: int, desired: str) -> None:
        self.model.agents[number].desired = desired

    @invariant()
    def all_holds(self) -> None:
        self.model.check()
        for number, said in self.since.items():
            task = self.model.tasks[number]
            charged = sum(outcome in ("failed", "timed_out") for outcome in said)
            assert task.retry_count <= charged <= task.retry_count + 1
            assert task.lost_count == said.count("lost")
            assert task.dead_letter == (task.status is TaskStatus.FAILED)


TestTaskMachine = TaskMachine.TestCase
TestTaskMachine.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
