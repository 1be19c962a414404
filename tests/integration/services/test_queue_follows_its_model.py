"""The same verbs in any order on the real database and on the plain model of the queue: both tell the same story."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from tests.support.queue_model import QueueModel
from tests.support.spine import Spine, empty_spine

from workstation.domain.assign import Taker
from workstation.domain.errors import Conflict, Refusal
from workstation.domain.principal import Principal, Role
from workstation.domain.tasks import Claim, NewTask, OutcomeKind, Progress, Report, TaskError
from workstation.services import instances, queue, tasks
from workstation.services.instances import Hello
from workstation.services.queue import Unit
from workstation.store import tasks as task_store
from workstation.store.tasks import Look

LATER = timedelta(seconds=35)
BOSS = Principal("boss", Role.ADMIN)
AGENTS = {1: ["c"], 2: ["c"], 3: []}
STATES = ("pending", "running", "completed", "failed", "cancelled")


class Twins(RuleBasedStateMachine):
    """Durations are odd multiples of 5 s and time passes in tens, so that both clocks agree on what is over."""

    dsn = ""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.opened: AbstractAsyncContextManager[Spine] = empty_spine(self.dsn)
        self.spine = self.run(self.opened.__aenter__())
        self.clock = 0.0
        self.model = QueueModel(lambda: self.clock)
        self.claims: list[Claim] = []
        for number, capabilities in AGENTS.items():
            self.model.add_agent(number, capabilities)
            assert self.run(self.spine.agent(capabilities=capabilities)) == number
            self.come(number)

    def run(self, work: Any) -> Any:
        """Wait for the database; the model's clock moves on a little with every verb."""
        self.clock = getattr(self, "clock", 0.0) + 0.001
        return self.runner.run(work)

    def teardown(self) -> None:
        self.runner.run(self.opened.__aexit__(None, None, None))
        self.runner.close()

    # -- verbs

    @rule(number=st.sampled_from(list(AGENTS)))
    def come(self, number: int) -> None:
        instance = UUID(int=100 + len(self.model.instances))

        async def hello() -> None:
            async with self.spine.database.session() as connection:
                await instances.hello(connection, Hello(instance, number, 10))

        self.run(hello())
        self.model.hello(instance, number)

    @rule(verb=st.sampled_from(["renew", "drain", "goodbye"]), data=st.data())
    def lease(self, verb: str, data: st.DataObject) -> None:
        instance = data.draw(st.sampled_from(sorted(self.model.instances)))

        async def say() -> None:
            async with self.spine.database.session() as connection:
                extra = ("bye",) if verb == "goodbye" else ()
                await getattr(instances, verb)(connection, [instance], *extra)

        self.run(say())
        getattr(self.model, verb)([instance])

    @rule(
        agents=st.lists(st.sampled_from([1, 2, 3, None]), min_size=1, max_size=3),
        priority=st.sampled_from([1, 5, 10]),
        retries=st.integers(0, 2),
        later=st.booleans(),
        key=st.sampled_from([None, None, "k", "l"]),
        body=st.sampled_from([b"1", b"2"]),
        together=st.booleans(),
    )
    def submit(
        self,
        agents: list[int | None],
        priority: int,
        retries: int,
        later: bool,
        key: str | None,
        body: bytes,
        together: bool,
    ) -> None:
        def made(run_at: datetime | None) -> list[NewTask]:
            return [
                NewTask(
                    "t",
                    "{}",
                    "alice",
                    agent,
                    None if agent else "c",
                    priority,
                    retries,
                    45_000,
                    run_at,
                    idempotency_key=f"{key}{index}" if key else None,
                    request_hash=body if key else None,
                )
                for index, agent in enumerate(agents)
            ]

        ids = self.model.take_ids(len(agents))
        assert self.run(self.spine.on(lambda c: task_store.take_ids(c, len(agents)))) == ids
        here = made(self.model.at(self.clock) + LATER if later else None)
        there = made(datetime.now(UTC) + LATER if later else None)
        if together and not key:
            verb, split = queue.submit, [(i, i + 1) for i in range(len(agents))]
        else:
            verb, split = queue.submit_alone, [(0, len(agents))]
        answers = self.run(
            self.spine.on(lambda c: verb(c, [Unit(tuple(there[a:b]), (None,) * (b - a)) for a, b in split], ids))
        )
        expected = self.model.submit([Unit(tuple(here[a:b]), (None,) * (b - a)) for a, b in split], ids)
        assert [_created(a) for a in answers] == [_created(a) for a in expected]

    @rule(credits=st.lists(st.integers(0, 2), min_size=4, max_size=4), alone=st.booleans())
    def claim(self, credits: list[int], alone: bool) -> None:
        def takers() -> list[Taker]:
            chosen = zip(list(self.model.instances.values())[-4:], credits, strict=False)
            return [Taker(i.id, i.agent_id, self.model.lanes_of_instance(i.id), n) for i, n in chosen if n]

        lanes = sorted({lane for taker in takers() for lane in taker.lanes})
        looks = [Look(lane, sum(credits)) for lane in lanes]
        if not looks:
            return
        there = self.run(self.spine.on(lambda c: queue.claim(c, looks, takers(), alone=alone)))
        here = self.model.claim(looks, takers())
        assert sorted(map(_claimed, there.claims)) == sorted(map(_claimed, here.claims))
        assert there.exhausted == here.exhausted
        self.claims += here.claims

    @rule(
        kind=st.sampled_from(["completed", "failed", "failed", "timed_out", "released", "lost"]),
        retryable=st.booleans(),
        after=st.sampled_from([None, LATER]),
        forged=st.integers(0, 9),
        data=st.data(),
    )
    def report(self, kind: str, retryable: bool, after: timedelta | None, forged: int, data: st.DataObject) -> None:
        if not self.claims:
            return
        claim = data.draw(st.sampled_from(self.claims))
        instance = UUID(int=1) if forged == 0 else claim.instance_id
        error = TaskError("no", retryable=retryable, retry_after=after) if kind in ("failed", "timed_out") else None
        result = "{}" if kind == "completed" else None
        said = Report(claim.task_id, claim.attempt, instance, OutcomeKind(kind), result, error=error)
        self._settle([said])

    def _settle(self, said: list[Report]) -> None:
        if said[0].kind is OutcomeKind.COMPLETED:
            there = self.run(self.spine.on(lambda c: queue.complete(c, said)))
        else:
            there = self.run(self.spine.on(lambda c: queue.settle(c, said, lambda: 0.0)))
        assert list(map(_answered, there)) == list(map(_answered, self.model.report(said, lambda: 0.0)))

    @rule(data=st.data())
    def progress(self, data: st.DataObject) -> None:
        if self.claims:
            claim = data.draw(st.sampled_from(self.claims))
            items = [Progress(claim.task_id, claim.attempt, claim.instance_id, 50.0, data='{"at": 1}')]
            there = self.run(self.spine.on(lambda c: queue.record_progress(c, items)))
            assert [a is None for a in there] == [a is None for a in self.model.progress(items)]

    @rule(verb=st.sampled_from(["cancel", "redrive"]), data=st.data())
    def change(self, verb: str, data: st.DataObject) -> None:
        if not self.model.tasks:
            return
        number = data.draw(st.sampled_from(sorted(self.model.tasks)))
        try:
            there = self.run(getattr(tasks, verb)(self.spine.database, number, BOSS))
        except Conflict:
            there = None
        here = getattr(self.model, verb)(number)
        assert (there is None) == (here is None)
        if verb == "cancel" and there is not None:
            assert (there.attempt, there.instance_id) == here

    @rule(seconds=st.sampled_from([10, 20]))
    def time_passes(self, seconds: int) -> None:
        async def shift() -> None:
            by = timedelta(seconds=seconds)
            for table, columns in (
                ("agent_tasks", ("run_at", "deadline_at")),
                ("claims", ("claimed_at", "look_at")),
                ("agent_instances", ("lease_expires_at",)),
            ):
                changes = ", ".join(f"{column} = {column} - $1::interval" for column in columns)
                await self.spine.execute(f"update {table} set {changes}", by)

        self.run(shift())
        self.clock += seconds

    @rule()
    def reap(self) -> None:
        async def look() -> tuple[Any, Any, Any]:
            async with self.spine.database.session() as c:
                dead = await instances.reap_lapsed(c, 100)
                _, overdue = await task_store.sweep_claims(c, 100)
                return dead, await task_store.list_orphans(c, 100), overdue

        dead, orphans, overdue = self.run(look())
        assert set(dead) == set(self.model.reap())
        assert sorted(orphans) == sorted(self.model.orphans())
        assert sorted(overdue) == sorted(self.model.overdue())
        gone = {number for number, _, _ in orphans}
        said = [Report(*each, OutcomeKind.LOST) for each in orphans]
        said += [
            Report(*each, OutcomeKind.TIMED_OUT, error=TaskError("late")) for each in overdue if each[0] not in gone
        ]
        if said:
            self._settle(said)

    # -- what both must say

    @invariant()
    def both_tell_the_same(self) -> None:
        if not hasattr(self, "claims"):
            return
        self.model.check()
        self.run(self._compare())

    async def _compare(self) -> None:
        rows = await self.spine.fetch("select * from agent_tasks order by id")
        assert [row["id"] for row in rows] == sorted(self.model.tasks)
        attempts: dict[int, list[Any]] = {row["id"]: [] for row in rows}
        for each in await self.spine.fetch("select * from attempts order by task_id, attempt"):
            attempts[each["task_id"]].append((each["attempt"], each["instance_id"], each["outcome"]))
        events: dict[int, list[Any]] = {row["id"]: [] for row in rows}
        for each in await self.spine.fetch(
            "select e.type, i.* from events e, unnest(e.tasks, e.versions) as i (task, version)"
            " where e.tasks is not null order by i.version"
        ):
            events[each["task"]].append((each["version"], each["type"]))
        for row in rows:
            task = self.model.tasks[row["id"]]
            names = ("status", "attempt", "retry_count", "lost_count", "release_count", "dead_letter", "agent_id")
            assert [row[name] for name in names] == [getattr(task, name) for name in names]
            assert (row["instance_id"], row["version"]) == (task.instance, task.version)
            assert attempts[task.id] == [(a.number, a.instance, a.outcome) for a in task.attempts]
            assert events[task.id] == list(enumerate(task.events, 1))
        async with self.spine.database.session() as connection:
            counts = await task_store.get_counts(connection)
        for state in STATES:
            assert sum(row[state] for row in counts) == sum(t.status == state for t in self.model.tasks.values())


def _created(answer: Any) -> Any:
    return answer.code if isinstance(answer, Refusal) else [(c.task_id, c.replayed) for c in answer]


def _answered(answer: Any) -> Any:
    return answer.code if isinstance(answer, Refusal) else answer.status


def _claimed(claim: Claim) -> Any:
    return claim.task_id, claim.attempt, claim.instance_id, claim.agent_id, claim.suspect


def test_the_queue_and_its_model_tell_the_same(spine_dsn: str) -> None:
    run_state_machine_as_test(
        type("TwinsHere", (Twins,), {"dsn": spine_dsn}),
        settings=settings(
            max_examples=12,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
