"""Statistics are exact against the raw rows, whatever was done to them and by whom; every move was a legal one."""

import random

import pytest
from tests.support.spine import Spine, new

from workstation.domain.errors import Refusal
from workstation.domain.principal import Principal, Role
from workstation.domain.tasks import MOVES, Claim, OutcomeKind, TaskError, TaskStatus
from workstation.services import agents, tasks
from workstation.store import tasks as store

STATES = ("waiting", "pending", "running", "completed", "failed", "cancelled")
ADMIN = Principal("root", Role.ADMIN)


class Mix:
    """Random verbs and hand-written statements on a few agents; every change of a status is a legal move."""

    def __init__(self, spine: Spine, seed: int) -> None:
        self.spine = spine
        self.random = random.Random(seed)
        self.claims: list[Claim] = []
        self.deleted = dict.fromkeys(STATES, 0)
        self.before: dict[int, str] = {}

    async def prepare(self) -> None:
        self.agents = [await self.spine.agent(capabilities=["ocr"]) for _ in range(3)]
        self.instances = [await self.spine.instance(agent) for agent in self.agents]

    async def step(self) -> None:
        verb = self.random.choice(
            [
                *[self.submit, self.claim, self.complete, self.end] * 2,
                *[self.cancel, self.redrive, self.fold, self.insert_by_hand, self.delete_by_hand, self.update_by_hand],
            ]
        )
        await verb()
        if verb not in (self.update_by_hand, self.insert_by_hand):
            await self.check_moves()
        self.before = await self.states()

    async def states(self) -> dict[int, str]:
        return {row[0]: row[1] for row in await self.spine.fetch("select id, status from agent_tasks")}

    async def check_moves(self) -> None:
        for number, status in (await self.states()).items():
            was = self.before.get(number)
            if was is not None and was != status:
                assert TaskStatus(status) in MOVES[TaskStatus(was)], f"{was} became {status}"

    async def submit(self) -> None:
        await self.spine.submit(
            *(
                new(capability="ocr", priority=self.random.randint(1, 10))
                if self.random.random() < 0.4
                else new(self.random.choice(self.agents), max_retries=self.random.randint(0, 1))
                for _ in range(self.random.randint(1, 6))
            )
        )

    async def claim(self) -> None:
        self.claims += await self.spine.claim(*self.instances, credit=self.random.randint(1, 4))

    async def complete(self) -> None:
        if self.claims:
            await self.spine.complete(self.random.choice(self.claims))

    async def end(self) -> None:
        if self.claims:
            kind = self.random.choice([OutcomeKind.FAILED, OutcomeKind.RELEASED, OutcomeKind.LOST])
            error = TaskError("no", retryable=self.random.random() < 0.5) if kind is OutcomeKind.FAILED else None
            await self.spine.settle(self.random.choice(self.claims), kind, error)

    async def any_task(self) -> int | None:
        numbers = list(self.before)
        return self.random.choice(numbers) if numbers else None

    async def cancel(self) -> None:
        if (number := await self.any_task()) is not None:
            try:
                await tasks.cancel(self.spine.database, number, ADMIN)
            except Refusal:
                assert self.before[number] in ("completed", "failed", "cancelled")

    async def redrive(self) -> None:
        if (number := await self.any_task()) is not None:
            try:
                await tasks.redrive(self.spine.database, number, ADMIN)
            except Refusal:
                assert self.before[number] != "failed"

    async def fold(self) -> None:
        async with self.spine.database.transaction() as connection:
            await store.fold_counts(connection, self.random.choice([1, 5, 1000]))

    async def insert_by_hand(self) -> None:
        await self.spine.execute(
            "insert into agent_tasks (agent_id, type, payload, status, started_at, completed_at)"
            " select $1, 'by hand', '{}', s, now() - interval '2 seconds', case when s = 'completed' then now() end"
            " from unnest($2::text[]) s",
            self.random.choice(self.agents),
            self.random.choice([["pending"], ["pending", "waiting"], ["completed", "pending"]]),
        )

    async def update_by_hand(self) -> None:
        statement = self.random.choice(
            [
                "update agent_tasks set priority = 7 where id % 3 = 0",
                "update agent_tasks set agent_id = $1 where status = 'pending' and capability is null and id % 4 = 1",
                "update agent_tasks set status = 'pending' where status = 'waiting' and agent_id = $1",
                "update agent_tasks set status = 'completed', completed_at = now(), started_at = now() - interval '1 s'"
                " where status = 'pending' and agent_id = $1 and id % 5 = 2",
            ]
        )
        await self.spine.execute(statement, *([self.random.choice(self.agents)] if "$1" in statement else []))

    async def delete_by_hand(self) -> None:
        rows = await self.spine.fetch(
            "delete from agent_tasks where id = (select id from agent_tasks where status <> 'running' and agent_id is"
            " not null order by id desc offset $1 limit 1) returning agent_id, status",
            self.random.randint(0, 5),
        )
        for row in rows:
            self.deleted[row["status"]] += 1


@pytest.mark.parametrize("seed", range(6))
async def test_after_a_random_mix_the_counts_are_the_rows(spine: Spine, seed: int) -> None:
    mix = Mix(spine, seed)
    await mix.prepare()
    for _ in range(50):
        await mix.step()
    raw = {row[0]: row[1] for row in await spine.fetch("select status, count(*) from agent_tasks group by 1")}
    async with spine.database.session() as connection:
        counted = await store.get_counts(connection)
    for state in STATES:
        # Finished tasks that were deleted stay counted; others are gone.
        gone = mix.deleted[state] if state in ("completed", "failed", "cancelled") else 0
        assert sum(row[state] for row in counted) == raw.get(state, 0) + gone, state
    by_agent = {row["agent_id"]: row for row in counted}
    for agent in mix.agents:
        open_ = await spine.value(
            "select count(*) from agent_tasks where agent_id = $1 and status in ('waiting', 'pending', 'running')",
            agent,
        )
        row = by_agent.get(agent)
        assert open_ == (0 if row is None else row["waiting"] + row["pending"] + row["running"])
    assert all(row["capability"] == "ocr" for row in counted if row["agent_id"] is None)


async def test_the_average_is_that_of_the_rows(spine: Spine) -> None:
    agent = await spine.agent()
    await spine.execute(
        "insert into agent_tasks (agent_id, type, payload, status, started_at, completed_at)"
        " select $1, 't', '{}', 'completed', now() - ms * interval '1 ms', now() from unnest(array[100, 200, 600]) ms",
        agent,
    )
    statistics = await agents.get_statistics(spine.database, agent)
    assert (statistics.total, statistics.completed, statistics.active) == (3, 3, 0)
    assert statistics.avg_execution_time_ms == 300
    await spine.submit(new(agent))
    await spine.execute(
        "update agent_tasks set status = 'completed', started_at = now() - interval '1 s', completed_at = now()"
        " where status = 'pending'"
    )
    assert (await agents.get_statistics(spine.database, agent)).avg_execution_time_ms == 475


async def test_a_task_that_never_started_can_be_finished_and_moved_by_hand(spine: Spine) -> None:
    agent, other = await spine.agent(), await spine.agent()
    await spine.submit(new(agent))
    await spine.execute("update agent_tasks set status = 'completed', completed_at = now()")
    await spine.execute("update agent_tasks set agent_id = $1", other)
    assert (await agents.get_statistics(spine.database, agent)).completed == 0
    statistics = await agents.get_statistics(spine.database, other)
    assert (statistics.completed, statistics.avg_execution_time_ms) == (1, 0)


async def test_an_agent_that_never_had_a_task_has_zeros(spine: Spine) -> None:
    statistics = await agents.get_statistics(spine.database, await spine.agent())
    assert statistics == agents.Statistics(0, 0, 0, 0, 0, None)


async def test_emptying_the_table_by_hand_leaves_no_open_tasks_counted(spine: Spine) -> None:
    agent = await spine.agent()
    await spine.submit(new(agent), new(capability="ocr"))
    await spine.execute("delete from agent_tasks")
    row, _ = await agents.get_overview(spine.database)
    assert row["pending_tasks"] == 0
    await spine.submit(new(agent), new(capability="ocr"))
    await spine.execute("truncate agent_tasks")
    row, _ = await agents.get_overview(spine.database)
    assert row["pending_tasks"] == 0
