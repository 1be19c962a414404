"""Two real servers on one database: what is asked at one and held at the other, with and without hints; an upgrade."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import asyncpg
import httpx
import pytest
import pytest_asyncio
from tests.support.agent_process import Journal
from tests.support.guardian import guarded_folder
from tests.support.history import check, until_final
from tests.support.postgres import TestServer
from tests.support.replicas import DRAIN_SECONDS, Replica, Replicas, running_replicas, submitting
from tests.support.waiting import until

from workstation.store.migrate import migrations

pytestmark = pytest.mark.asyncio(loop_scope="module")

# Every NOTIFY of a server goes through a function that can be told to drop it.
DROPPING = """
create table public.switch (dropped boolean not null);
insert into public.switch values (false);
create function public.pg_notify(text, text) returns void language sql as
    $$ select pg_catalog.pg_notify($1, $2) where not (select dropped from public.switch) $$;
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pair(postgres: TestServer) -> AsyncIterator[Replicas]:
    """The two of them, on a database whose notifications can be dropped."""
    with guarded_folder() as folder:
        async with postgres.database() as dsn:
            connection = await asyncpg.connect(dsn)
            name = await connection.fetchval("select current_database()")
            await connection.execute(DROPPING)
            await connection.execute(f'alter database "{name}" set search_path = public, pg_catalog')
            await connection.close()
            async with running_replicas(folder, dsn) as replicas:
                yield replicas
                for server in replicas.servers:
                    if server.running:
                        server.kill()


@pytest_asyncio.fixture(loop_scope="module", params=["with hints", "with every hint dropped"])
async def hints(pair: Replicas, request: pytest.FixtureRequest) -> None:
    """Whether notifications arrive."""
    await pair.servers[0].rows("update public.switch set dropped = $1", request.param != "with hints")


async def test_what_is_held_at_one_is_asked_for_at_the_other(pair: Replicas, hints: None) -> None:
    """The agent is at the second server; everything is asked at the first."""
    journal = pair.journal()
    agent, process = await pair.connect(journal, at=1)
    here = pair.servers[0].client()

    async def submit(type: str, **fields: object) -> str:
        answer = await here.post("/api/agents/tasks", json={"agentId": str(agent), "type": type, **fields})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["taskId"])

    async def wait(number: str) -> dict[str, object]:
        data: dict[str, object] = (await here.get(f"/api/agents/tasks/{number}?wait=10")).json()["data"]
        return data

    quick = await submit("quick", payload={})
    began = time.monotonic()
    assert (await wait(quick))["status"] == "completed"
    assert time.monotonic() - began < 4
    # Progress of one is seen at the other.
    telling = await submit("telling", payload={})
    assert (await wait(telling))["status"] == "completed"
    # A cancel reaches the handler: within a heartbeat at the latest.
    hanging = await submit("hanging", payload={}, timeout_ms=60_000)
    await until(lambda: _wrote(journal, hanging, "begins"), within=5)
    answer = await here.post(f"/api/agents/tasks/{hanging}/cancel")
    assert answer.status_code == 200
    await until(lambda: _wrote(journal, hanging, "is told to stop"), within=7)
    # A redrive runs again.
    hopeless = await submit("hopeless", payload={})
    assert (await wait(hopeless))["status"] == "failed"
    assert (await here.post(f"/api/agents/tasks/{hopeless}/redrive")).status_code == 200
    redriven = await wait(hopeless)
    assert (redriven["status"], redriven["attempt"]) == ("failed", 2)
    process.end()


async def _wrote(journal: Journal, task: str, what: str) -> bool:
    return any(line.task == int(task) and line.what == what for line in journal.lines())


async def test_a_token_revoked_at_one_ends_at_the_other_with_its_open_socket(pair: Replicas) -> None:
    first, second = pair.servers
    agent, process = await pair.connect(pair.journal(), at=1)
    made = (await first.client().post("/api/tokens", json={"role": "user", "subject": "eve"})).json()["data"]
    listed = (await first.client().get("/api/tokens")).json()["data"]["tokens"]
    (of_agent,) = [each["id"] for each in listed if each.get("agentId", each.get("agent_id")) == str(agent)]
    async with httpx.AsyncClient(base_url=second.url, headers={"Authorization": f"Bearer {made['token']}"}) as eve:
        assert (await eve.get("/api/agents/tasks")).status_code == 200
        for token in (made["id"], of_agent):
            assert (await first.client().delete(f"/api/tokens/{token}")).is_success

        async def refused() -> bool:
            return (await eve.get("/api/agents/tasks")).status_code == 401

        await until(refused, within=5)
    assert await process.ended(within=5) == 4


async def test_an_older_replica_goes_on_and_starts_again_on_a_schema_that_was_made_for_it_too(pair: Replicas) -> None:
    """As in an upgrade of one replica after the other: the newer one has added a column already."""
    first, second = pair.servers
    agent, process = await pair.connect(pair.journal(), at=1)
    add = "insert into schema_migrations (number, name, checksum, oldest) values (9999, 'future', '', $1)"
    await first.rows("alter table agent_tasks add column of_the_future text")
    await first.rows(add, migrations()[-1].number)
    async with submitting(pair, agent) as record:
        assert all([(await server.client().get("/ready")).status_code == 200 for server in pair.servers])
        first.kill()
        await first.start()
    assert len(record.acknowledged) > 10
    await until_final(second, record.acknowledged, within=15)
    await first.rows("delete from schema_migrations where number = 9999")
    # One that was not made for it says so, in one sentence, while the others go on.
    await first.rows(add, 9999)
    stranger = Replica(pair.folder / "stranger", first._dsn)
    with pytest.raises(AssertionError, match="newer version of Workstation"):
        await stranger.start()
    assert (await second.client().get("/ready")).status_code == 200
    await first.rows("delete from schema_migrations where number = 9999")
    process.end()


async def test_one_that_goes_down_is_served_out_and_its_agents_move_with_what_they_hold(pair: Replicas) -> None:
    first, second = pair.servers
    journal = pair.journal()
    agent, process = await pair.connect(journal, at=0)
    client = first.client()
    body = {"agentId": str(agent), "type": "lasting", "payload": {"seconds": 2.5}, "timeout_ms": 60_000}
    lasting = int((await client.post("/api/agents/tasks", json=body)).json()["taskId"])
    await until(lambda: _wrote(journal, str(lasting), "begins"), within=5)
    async with submitting(pair, agent) as record:
        waiting = asyncio.create_task(client.get(f"/api/agents/tasks/{lasting}?wait=20"))
        await asyncio.sleep(0.2)
        ending = asyncio.create_task(first.terminate(within=30))
        began = time.monotonic()

        async def says_so() -> bool:
            return (await client.get("/ready")).status_code == 503

        await until(says_so, within=1)
        # New connections are still taken, what they ask is done, and they are told not to stay.
        async with httpx.AsyncClient(base_url=first.url, headers=dict(client.headers)) as fresh:
            answer = await fresh.get("/api/agents/tasks")
            assert answer.status_code == 200 and answer.headers["connection"] == "close"
        await until(lambda: pair.is_at(agent, 1), within=2)
        code, _ = await ending
        took = time.monotonic() - began
        # Who waits is answered when it closes: with what is known, or to ask again, which may be elsewhere.
        answer = await waiting
        assert answer.status_code == 503 or answer.json()["data"]["status"] == "completed"
    assert code == 0 and DRAIN_SECONDS - 0.1 <= took < DRAIN_SECONDS + 4
    everything = {**record.acknowledged, lasting: "lasting"}
    await until_final(second, everything, within=15)
    history = await check(second, everything, journal)
    assert history.count("released") == history.count("lost") == 0
    assert history.tasks[lasting]["attempt"] == 1
    assert [line.what for line in journal.lines() if line.task == lasting] == ["begins", "reports"]
    process.end()
    # The one that is left alone goes down as one that was always alone: it waits for nobody.
    code, seconds = await second.terminate(within=30)
    assert code == 0 and seconds < DRAIN_SECONDS + 1
