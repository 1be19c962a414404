"""The agent's side over plain HTTP, row by row of the contract."""

import asyncio
from uuid import uuid4

import httpx
import pytest
from tests.support.api import Api

LEASE_MS, HEARTBEAT_MS = 15_000, 5_000


class Worker:
    """An agent that pulls, with a task for it."""

    def __init__(self, client: httpx.AsyncClient, user: httpx.AsyncClient, agent: int) -> None:
        self.client, self.user, self.agent = client, user, agent
        self.instance = ""

    async def submit(self, **fields: object) -> str:
        """A task for this agent."""
        body = {"agentId": str(self.agent), "type": "t", "payload": {"n": 1}, **fields}
        answer = await self.user.post("/api/agents/tasks", json=body)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["taskId"])

    async def claim(self, **fields: object) -> list[dict[str, object]]:
        """Claim with this instance."""
        body: dict[str, object] = {"slots": 1, "wait_ms": 5000, **fields}
        if self.instance:
            body["instance"] = self.instance
        answer = await self.client.post(f"/api/agents/{self.agent}/claim", json=body)
        assert answer.status_code == 200, answer.text
        data = answer.json()["data"]
        assert (data["lease_ms"], data["heartbeat_ms"]) == (LEASE_MS, HEARTBEAT_MS)
        self.instance = data["instance"]
        return list(data["tasks"])

    async def report(self, task: str, verb: str, attempt: int = 1, **fields: object) -> httpx.Response:
        """Report on an attempt."""
        body = {"instance": self.instance, "attempt": attempt, **fields}
        return await self.client.post(f"/api/agents/tasks/{task}/{verb}", json=body)

    async def look(self, task: str) -> dict[str, object]:
        """The task as its creator sees it."""
        return dict((await self.user.get(f"/api/agents/tasks/{task}")).json()["data"])


@pytest.fixture
async def worker(api: Api) -> Worker:
    """An agent started elsewhere, and a user."""
    agent = await api.agent("puller")
    return Worker(await api.client("agent", agent), await api.client("user"), agent)


async def test_a_claimed_task_is_completed_once_and_answered_alike_again(worker: Worker) -> None:
    number = await worker.submit(priority=9)
    (task,) = await worker.claim()
    assert task["id"] == number and task["type"] == "t" and task["payload"] == {"n": 1}
    assert (task["attempt"], task["priority"], task["timeout_ms"]) == (1, 9, 30_000)
    assert str(task["deadline_at"]).endswith("Z")
    done = await worker.report(number, "complete", result={"title": "Example Domain"}, usage={"tokens": 5})
    assert done.status_code == 200 and done.json() == {"success": True, "data": {"status": "completed"}}
    again = await worker.report(number, "complete", result={"title": "Another"})
    assert again.status_code == 200 and again.json() == done.json()
    seen = await worker.look(number)
    assert seen["status"] == "completed" and seen["result"] == {"title": "Example Domain"}
    other = await worker.report(number, "fail", error={"message": "no"})
    assert other.status_code == 409 and other.json()["code"] == "lease_lost"


async def test_a_claim_waits_for_work_and_comes_back_empty_without(worker: Worker) -> None:
    assert await worker.claim(wait_ms=50) == []
    waiting = asyncio.create_task(worker.claim(wait_ms=10_000))
    await asyncio.sleep(0.2)
    number = await worker.submit()
    (task,) = await asyncio.wait_for(waiting, 2)
    assert task["id"] == number


async def test_what_holding_lacks_is_returned_again(worker: Worker) -> None:
    number = await worker.submit()
    await worker.claim()
    (again,) = await worker.claim(holding=[])
    assert (again["id"], again["attempt"]) == (number, 1)
    assert await worker.claim(holding=[{"task": number, "attempt": 1}], wait_ms=0) == []


async def test_a_failed_attempt_is_tried_again_and_then_no_more(worker: Worker) -> None:
    number = await worker.submit(max_retries=1)
    await worker.claim()
    first = await worker.report(number, "fail", error={"message": "flaky", "retry_after_ms": 0})
    assert first.json()["data"]["status"] == "pending" and first.json()["data"]["run_at"].endswith("Z")
    (task,) = await worker.claim()
    assert task["attempt"] == 2
    last = await worker.report(number, "fail", 2, error={"message": "broken", "type": "Broken"})
    assert last.json()["data"] == {"status": "failed"}
    seen = await worker.look(number)
    assert seen["status"] == "failed" and seen["dead_letter"] is True and seen["retry_count"] == 1
    assert seen["result"] == {"success": False, "error": "broken"}
    assert seen["error"] == {"type": "Broken", "message": "broken", "attempt": 2, "retryable": True}
    redriven = await worker.user.post(f"/api/agents/tasks/{number}/redrive")
    assert redriven.json()["data"] == {"id": number, "status": "pending"}
    assert (await worker.look(number))["retry_count"] == 0


async def test_a_failure_that_is_not_retryable_is_final(worker: Worker) -> None:
    number = await worker.submit()
    await worker.claim()
    answer = await worker.report(number, "fail", error={"message": "never", "retryable": False})
    assert answer.json()["data"] == {"status": "failed"}


async def test_a_released_task_is_claimed_again_without_charge(worker: Worker) -> None:
    number = await worker.submit()
    await worker.claim()
    released = await worker.report(number, "release")
    assert released.json()["data"]["status"] == "pending"
    (task,) = await worker.claim()
    assert task["attempt"] == 2
    assert (await worker.look(number))["retry_count"] == 0


async def test_progress_is_shown_and_is_the_next_attempts_checkpoint(worker: Worker) -> None:
    number = await worker.submit()
    await worker.claim()
    told = await worker.report(number, "progress", percent=58, message="reading page", data={"page": 3})
    assert told.status_code == 200 and told.json() == {"success": True, "data": {}}
    progress = (await worker.look(number))["progress"]
    assert isinstance(progress, dict) and (progress["percent"], progress["message"]) == (58, "reading page")
    await worker.report(number, "release")
    (task,) = await worker.claim()
    assert task["checkpoint"] == {"page": 3}


async def test_reports_of_a_stranger_are_lease_lost(worker: Worker) -> None:
    number = await worker.submit()
    await worker.claim()
    mine, worker.instance = worker.instance, str(uuid4())
    for verb, fields in (
        ("progress", {}),
        ("complete", {"result": 1}),
        ("fail", {"error": {"message": "x"}}),
        ("release", {}),
    ):
        answer = await worker.report(number, verb, **fields)
        assert answer.status_code == 409 and answer.json()["code"] == "lease_lost", verb
    worker.instance = mine
    assert (await worker.report(number, "complete", 2, result=1)).status_code == 409
    assert (await worker.look(number))["status"] == "running"


async def test_another_agent_cannot_report_even_with_the_right_instance(api: Api, worker: Worker) -> None:
    number = await worker.submit()
    await worker.claim()
    thief = await api.agent("thief")
    worker.client = await api.client("agent", thief)
    assert (await worker.report(number, "complete", result="stolen")).status_code == 409
    assert (await worker.look(number))["status"] == "running"


async def test_reports_on_unknown_tasks_are_not_found(worker: Worker) -> None:
    worker.instance = str(uuid4())
    assert (await worker.report("999", "complete", result=1)).status_code == 404


async def test_a_heartbeat_renews_and_tells_what_to_stop(worker: Worker) -> None:
    number = await worker.submit()
    await worker.claim()
    beat = f"/api/agents/{worker.agent}/heartbeat"
    body = {"instance": worker.instance, "healthStatus": "healthy", "holding": [{"task": number, "attempt": 1}]}
    quiet = await worker.client.post(beat, json=body)
    assert quiet.json() == {"success": True, "data": {"lease_ms": LEASE_MS, "cancel": []}}
    await worker.user.post(f"/api/agents/tasks/{number}/cancel")
    assert (await worker.client.post(beat, json=body)).json()["data"]["cancel"] == [number]
    agent = (await worker.client.get(f"/api/agents/{worker.agent}")).json()["data"]["agent"]
    assert agent["healthStatus"] == "healthy"
    gone = await worker.client.post(beat, json={"instance": str(uuid4())})
    assert gone.status_code == 409 and gone.json()["code"] == "lease_lost"


async def test_a_result_over_its_limit_is_too_large_and_fails_that_attempt(worker: Worker) -> None:
    number = await worker.submit()
    await worker.claim()
    answer = await worker.report(number, "complete", result="x" * (1024 * 1024))
    assert answer.status_code == 413 and answer.json()["code"] == "too_large"
    assert (await worker.look(number))["status"] == "failed"


async def test_results_of_every_json_type_come_back_as_they_were(worker: Worker) -> None:
    for result in (None, True, 0, 1.5, "text", [], {}, [1, {"a": None}], "😀 ünï"):
        number = await worker.submit()
        await worker.claim()
        await worker.report(number, "complete", result=result)
        assert (await worker.look(number))["result"] == result


async def test_a_task_created_by_an_agent_belongs_to_it(api: Api, worker: Worker) -> None:
    answer = await worker.client.post(
        "/api/agents/tasks", json={"agentId": str(worker.agent), "type": "t", "payload": {}}
    )
    number = answer.json()["taskId"]
    task = (await worker.client.get(f"/api/agents/tasks/{number}")).json()["data"]
    assert task["created_by"] == f"agent:{worker.agent}"
    stranger = await api.client("agent", await api.agent("stranger"))
    assert (await stranger.get(f"/api/agents/tasks/{number}")).status_code == 404
