"""The queue on a real database, for tests of store, services, dispatch, engine and gateway.

One database with the current schema serves a whole test process; each test finds it empty.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from itertools import count
from typing import Any, TypeVar
from uuid import UUID, uuid4

import asyncpg

from workstation.dispatch.floor import lanes_of
from workstation.domain.assign import Taker
from workstation.domain.errors import Refusal
from workstation.domain.tasks import Claim, NewTask, OutcomeKind, Report, TaskError
from workstation.services import instances, queue
from workstation.services.instances import Hello
from workstation.services.queue import Accepted, Created, Unit
from workstation.store import tasks as task_store
from workstation.store.database import Connection, Database
from workstation.store.tasks import Look

T = TypeVar("T")

EMPTY_ALL = """do $$ begin
    execute (select 'truncate ' || string_agg(format('%I', tablename), ', ') || ' restart identity cascade'
             from pg_tables where schemaname = 'public' and tablename <> 'schema_migrations');
end $$"""


class Spine:
    """A database of its own kind of shortcuts: agents, instances, tasks and claims in one line each."""

    def __init__(self, database: Database, dsn: str) -> None:
        self.database = database
        self.dsn = dsn
        self._hot = database.hot("test")
        self._names = count(1)

    async def on(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Run a verb as dispatch does: on a kept connection with pinned plans."""
        return await self._hot.run(work)

    # -- raw SQL --------------------------------------------------------------------------------------------------

    async def execute(self, sql: str, *arguments: object) -> str:
        """One statement, as somebody with psql would write it."""
        async with self.database.session() as connection:
            return str(await connection.execute(sql, *arguments))

    async def fetch(self, sql: str, *arguments: object) -> list[asyncpg.Record]:
        """Rows."""
        async with self.database.session() as connection:
            return list(await connection.fetch(sql, *arguments))

    async def value(self, sql: str, *arguments: object) -> Any:
        """The first value."""
        async with self.database.session() as connection:
            return await connection.fetchval(sql, *arguments)

    async def task(self, task_id: int) -> asyncpg.Record:
        """A whole task row."""
        (row,) = await self.fetch("select * from agent_tasks where id = $1", task_id)
        return row

    async def attempts(self, task_id: int) -> list[tuple[int, str | None]]:
        """(attempt, outcome), first to last."""
        rows = await self.fetch("select attempt, outcome from attempts where task_id = $1 order by 1", task_id)
        return [(row[0], row[1]) for row in rows]

    async def told(self, type_: str) -> list[int]:
        """The tasks that events of a type tell of, in order."""
        rows = await self.fetch("select tasks from events where type = $1 order by id", type_)
        return [task for row in rows for task in row["tasks"]]

    # -- agents ---------------------------------------------------------------------------------------------------

    async def agent(self, name: str | None = None, **fields: object) -> int:
        """An agent that runs, unless the fields (columns of the registry) say otherwise."""
        columns: dict[str, object] = {
            "name": name or f"agent-{next(self._names)}",
            "type": "custom",
            "status": "running",
            "desired_status": "running",
            **fields,
        }
        marks = ", ".join(f"${number}" for number in range(1, len(columns) + 1))
        statement = f"insert into agent_registry ({', '.join(columns)}) values ({marks}) returning id"
        return int(await self.value(statement, *columns.values()))

    async def instance(self, agent_id: int, slots: int = 10, **fields: Any) -> UUID:
        """A connected instance of an agent."""
        instance_id = uuid4()
        async with self.database.session() as connection:
            await instances.hello(connection, Hello(instance_id, agent_id, slots, **fields))
        return instance_id

    async def kill(self, instance_id: UUID) -> None:
        """Let the lease of an instance be over."""
        await self.execute(
            "update agent_instances set lease_expires_at = now() - interval '1 second' where id = $1", instance_id
        )

    async def expire_deadlines(self) -> None:
        """Let every attempt under way be past its deadline."""
        await self.execute("update agent_tasks set deadline_at = now() - interval '1 ms' where status = 'running'")
        await self.execute("update claims set look_at = now()")

    # -- tasks ----------------------------------------------------------------------------------------------------

    async def submit(self, *tasks: NewTask, takers: Sequence[Any] | None = None) -> list[int]:
        """Create the tasks of one request; their numbers. A refusal is raised."""
        (answer,) = await self.create(Unit(tasks, tuple(takers or [None] * len(tasks))))
        if isinstance(answer, Refusal):
            raise answer
        return [created.task_id for created in answer]

    async def create(self, *units: Unit) -> list[list[Created] | Refusal]:
        """What the verb answers: one request in a transaction of its own, several in one statement."""
        n = sum(len(unit.tasks) for unit in units)
        ids = await self.on(lambda c: task_store.take_ids(c, n))
        verb = queue.submit if len(units) > 1 else queue.submit_alone
        return await self.on(lambda c: verb(c, units, ids))

    async def claim(
        self,
        *instance_ids: UUID,
        credit: int = 100,
        types: frozenset[str] | None = None,
        degraded: bool = False,
        suspects: Iterable[UUID] = (),
    ) -> list[Claim]:
        """One claim round for instances, over all lanes they serve."""
        rows = await self.fetch(
            "select n.id, n.agent_id, n.region, r.capabilities, r.region as home from agent_instances n"
            " join agent_registry r on r.id = n.agent_id where n.id = any ($1)",
            list(instance_ids),
        )
        takers = [
            Taker(
                row["id"],
                row["agent_id"],
                lanes_of(row["agent_id"], row["capabilities"] or (), row["region"] or row["home"]),
                credit,
                types,
                degraded,
                row["id"] in set(suspects),
            )
            for row in rows
        ]
        lanes = sorted({lane for taker in takers for lane in taker.lanes})
        look_at_suspects = any(not taker.holds_suspect for taker in takers)
        looks = [Look(lane, credit * len(takers), look_at_suspects, types) for lane in lanes]
        return (await self.on(lambda c: queue.claim(c, looks, takers))).claims

    async def complete(self, claim: Claim, result: str = "{}", **changes: Any) -> Accepted | Refusal:
        """Report a claim as done."""
        fields = {"task_id": claim.task_id, "attempt": claim.attempt, "instance_id": claim.instance_id, **changes}
        report = Report(kind=OutcomeKind.COMPLETED, result=result, **fields)
        (answer,) = await self.on(lambda c: queue.complete(c, [report]))
        return answer

    async def settle(
        self,
        claim: Claim,
        kind: OutcomeKind = OutcomeKind.FAILED,
        error: TaskError | None = None,
        *,
        jitter: float = 0.0,
        **changes: Any,
    ) -> Accepted | Refusal:
        """Report a claim as failed, released, lost or timed out."""
        if error is None and kind is OutcomeKind.FAILED:
            error = TaskError("it broke")
        fields = {"task_id": claim.task_id, "attempt": claim.attempt, "instance_id": claim.instance_id, **changes}
        report = Report(kind=kind, error=error, **fields)
        (answer,) = await self.on(lambda c: queue.settle(c, [report], lambda: jitter))
        return answer


def new(agent_id: int | None = None, **fields: Any) -> NewTask:
    """A task for an agent, or with capability=… for any that has it."""
    return NewTask(
        **{"type": "t", "payload": '{"n": 1}', "created_by": "alice", "agent_id": agent_id, **fields}  # type: ignore[arg-type]
    )


@asynccontextmanager
async def empty_spine(dsn: str) -> AsyncIterator[Spine]:
    """The spine over an emptied database."""
    database = await Database.connect(dsn, pool_size=6)
    try:
        spine = Spine(database, dsn)
        await spine.execute(EMPTY_ALL)
        yield spine
    finally:
        await database.close()


async def until(condition: Callable[[], Awaitable[bool] | bool], within: float = 10.0) -> None:
    """Wait until a condition holds; fails loudly when it does not come true in time."""
    end = asyncio.get_running_loop().time() + within
    while True:
        held = condition()
        if isinstance(held, bool):
            if held:
                return
        elif await held:
            return
        assert asyncio.get_running_loop().time() < end, "what was waited for did not come"
        await asyncio.sleep(0.01)
