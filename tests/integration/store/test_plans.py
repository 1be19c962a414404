"""The statements that run all the time read no more than they need, and settling stays cheap for the table."""

import json
import re
from typing import Any

import pytest
from tests.support.spine import Spine, new

from workstation.store import tasks as store
from workstation.store.statements import load

SQL = load("tasks")


async def explain(spine: Spine, types: str, statement: str, arguments: str) -> dict[str, Any]:
    """The plan a kept connection would run, with what it read."""

    async def ask(connection: Any) -> str:
        await connection.execute(f"prepare asked({types}) as {statement}")
        plan = await connection.fetchval(f"explain (analyze, buffers, format json) execute asked({arguments})")
        await connection.execute("deallocate asked")
        return str(plan)

    found: dict[str, Any] = json.loads(await spine.on(ask))[0]["Plan"]
    return found


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """The plan and everything below it."""
    return [plan, *(node for child in plan.get("Plans", ()) for node in nodes(child))]


def pages(plan: dict[str, Any]) -> int:
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


@pytest.fixture
async def crowded(spine: Spine) -> tuple[int, list[int]]:
    """An agent with 50,000 tasks of the highest priority that are not due, and 20 of the lowest that are."""
    agent = await spine.agent()
    await spine.execute(
        "insert into agent_tasks (agent_id, type, payload, priority, run_at)"
        " select $1, 't', '{}', 10, now() + interval '1 hour' + n * interval '1 ms' from generate_series(1, 50000) n",
        agent,
    )
    return agent, await spine.submit(*(new(agent, priority=1) for _ in range(20)))


async def test_tasks_that_are_not_due_do_not_stand_in_the_way_of_a_claim(
    spine: Spine, crowded: tuple[int, list[int]]
) -> None:
    agent, due = crowded
    types = "text[], int[], boolean[], text[]"
    plan = await explain(spine, types, SQL["lock_heads"], f"'{{a{agent}}}', '{{5}}', '{{t}}', '{{NULL}}'")
    scans = [node for node in nodes(plan) if node.get("Relation Name") == "agent_tasks"]
    assert {scan.get("Index Name") for scan in scans} == {"task_queue"}
    assert sum(scan["Actual Rows"] * scan["Actual Loops"] for scan in scans) <= 15
    assert pages(plan) < 150
    claims = await spine.claim(await spine.instance(agent), credit=5)
    assert sorted(claim.task_id for claim in claims) == due[:5]


async def test_looking_for_lanes_with_work_hops_over_what_is_not_due(
    spine: Spine, crowded: tuple[int, list[int]]
) -> None:
    agent, _ = crowded
    assert await spine.on(store.lanes_with_work) == {f"a{agent}"}
    rows = await spine.on(
        lambda c: c.fetchval(f"explain (analyze, buffers, format json) {SQL['lanes_with_work']}")  # type: ignore[arg-type]
    )
    assert pages(json.loads(rows)[0]["Plan"]) < 150


async def test_looking_for_lanes_reads_no_table_on_a_connection_of_the_pool_either(spine: Spine) -> None:
    agent = await spine.agent()
    many = "select $1, 't', '{}', 1 from generate_series(1, 20000)"
    await spine.execute(f"insert into agent_tasks (agent_id, type, payload, priority) {many}", agent)
    await spine.execute("analyze agent_tasks")
    async with spine.database.session() as connection:
        rows = await connection.fetchval(f"explain (analyze, buffers, format json) {SQL['lanes_with_work']}")
    assert pages(json.loads(rows)[0]["Plan"]) < 150


async def test_lanes_without_anything_due_are_left_out(spine: Spine) -> None:
    agent, idle = await spine.agent(capabilities=["ocr"]), await spine.agent()
    await spine.submit(new(agent), new(capability="ocr", region="eu"), new(capability="late"))
    await spine.execute("update agent_tasks set run_at = now() + interval '1 hour' where capability = 'late'")
    assert await spine.on(store.lanes_with_work) == {f"a{agent}", "cocr@eu"}
    await spine.submit(new(idle))
    await spine.execute("delete from agent_tasks where agent_id = $1", agent)
    assert await spine.on(store.lanes_with_work) == {f"a{idle}", "cocr@eu"}


async def test_completing_touches_no_index(spine: Spine) -> None:
    agent = await spine.agent()
    await spine.submit(*(new(agent) for _ in range(200)))
    claims = await spine.claim(await spine.instance(agent), credit=200)

    async def hot_updates() -> tuple[int, int]:
        await spine.on(lambda c: c.execute("select pg_stat_force_next_flush()"))  # type: ignore[arg-type]
        (row,) = await spine.fetch(
            "select n_tup_upd, n_tup_hot_upd from pg_stat_user_tables where relname = 'agent_tasks'"
        )
        return row[0], row[1]

    before = await hot_updates()
    for claim in claims:
        await spine.complete(claim)
    after = await hot_updates()
    updated, hot = after[0] - before[0], after[1] - before[1]
    assert updated == 200
    assert hot > 190, "an index names a column that completing changes, or pages have no room left"


ON_THE_WAY = (
    *("submit", "find_by_idempotency_key", "lock_heads", "look_at_heads", "claim", "complete", "lock_held", "settle"),
    *("find_attempts", "record_progress", "held_by", "list_running", "list_orphans", "sweep_claims", "get_tasks"),
)


@pytest.mark.parametrize("tasks", [0, 5, 60, 300, 2000])
async def test_a_plan_made_while_there_are_few_tasks_is_good_when_there_are_many(spine: Spine, tasks: int) -> None:
    agent = await spine.agent()
    if tasks:
        await spine.submit(*(new(agent) for _ in range(tasks)))
        for claim in await spine.claim(await spine.instance(agent), credit=tasks // 2):
            await spine.complete(claim)
        await spine.execute("analyze")
    for name in ON_THE_WAY:
        nulls = [None] * max(map(int, re.findall(r"\$(\d+)", SQL[name])))
        ask = f"explain (generic_plan, format json) {SQL[name]}"
        plan = await spine.on(lambda c: c.fetchval(ask, *nulls))  # type: ignore[arg-type]  # noqa: B023
        for node in nodes(json.loads(plan)[0]["Plan"]):
            if node.get("Relation Name") == "agent_tasks" and node["Node Type"].startswith("Index"):
                assert "Index Cond" in node, (name, node)
            assert node["Node Type"] != "Seq Scan" or node["Relation Name"] != "agent_tasks", (name, node)


_INSTANCE = "array['5f1d7e5e-6f0c-4e0b-9a35-0c2d8b7c1a11']::uuid[]"
_TASK = "array[50001]::bigint[]"
HOT = {
    "claim": ("bigint[], uuid[], bigint[]", f"{_TASK}, {_INSTANCE}, array[1]::bigint[]"),
    "complete": (
        "bigint[], int[], uuid[], text[], text[]",
        f"{_TASK}, array[1], {_INSTANCE}, array['{{}}'], array[null]::text[]",
    ),
    "lock_held": ("bigint[], int[], uuid[]", f"{_TASK}, array[1], {_INSTANCE}"),
    "held_by": ("uuid[]", _INSTANCE),
    "sweep_claims": ("int", "200"),
    "list_running": ("uuid[]", _INSTANCE),
    "list_orphans": ("int", "200"),
    "get_tasks": ("bigint[]", _TASK),
    "find_by_idempotency_key": ("text[], text[]", "array['alice'], array['k']"),
}


async def test_hot_statements_find_their_rows_by_index(spine: Spine, crowded: tuple[int, list[int]]) -> None:
    for name, (types, arguments) in HOT.items():
        plan = await explain(spine, types, SQL[name], arguments)
        scans = [n for n in nodes(plan) if n["Node Type"] == "Seq Scan" and n.get("Relation Name") == "agent_tasks"]
        assert scans == [], name
        assert pages(plan) < 200, name
