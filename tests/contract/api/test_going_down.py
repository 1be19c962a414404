"""A server that goes down answers those who wait: 503, ask again."""

import asyncio
from collections.abc import Awaitable

import asyncpg
import httpx
from tests.support.api import Api


async def _refused(asked: Awaitable[httpx.Response], api: Api) -> httpx.Response:
    asking = asyncio.ensure_future(asked)
    await asyncio.sleep(0.3)
    assert not asking.done()
    api.app.go_down()
    async with asyncio.timeout(2):
        answer = await asking
    assert answer.status_code == 503 and answer.json()["code"] == "unavailable", answer.text
    assert int(answer.headers["retry-after"]) >= 1
    return answer


async def test_who_waits_for_a_task_is_told_to_ask_again(api: Api) -> None:
    agent = await api.agent("worker")
    user = await api.client("user")
    body = {"agentId": str(agent), "type": "t", "payload": {}}
    task = (await user.post("/api/agents/tasks", json=body)).json()["taskId"]
    await _refused(user.get(f"/api/agents/tasks/{task}", params={"wait": 30}), api)
    assert (await user.get(f"/api/agents/tasks/{task}")).status_code == 200


async def test_who_is_cut_short_is_told_to_ask_again(api: Api, dsn: str) -> None:
    agent = await api.agent("worker")
    user = await api.client("user")
    other = await asyncpg.connect(dsn)
    async with other.transaction():
        await other.execute("lock table agent_tasks in access exclusive mode")
        body = {"agentId": str(agent), "type": "t", "payload": {}}
        asking = asyncio.create_task(user.post("/api/agents/tasks", json=body))
        await asyncio.sleep(0.3)
        api.app.go_down()
        assert asking.cancel(), "it was answered before"
        answer = await asking
    await other.close()
    assert answer.status_code == 503 and answer.json()["code"] == "unavailable", answer.text


async def test_an_agent_that_waits_for_work_is_told_to_ask_again(api: Api) -> None:
    agent = await api.agent("worker")
    worker = await api.client("agent", agent)
    await _refused(worker.post(f"/api/agents/{agent}/claim", json={"slots": 1, "wait_ms": 30_000}), api)
