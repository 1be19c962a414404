"""Tasks over HTTP, row by row of the contract."""

import asyncio

from tests.support.api import Api

SCRAPE = {"type": "scrape", "payload": {"url": "https://example.com", "selectors": ["h1", ".content"]}}


async def test_a_new_task_is_answered_with_its_number_twice(api: Api) -> None:
    agent = await api.agent()
    client = await api.client("user")
    answer = await client.post("/api/agents/tasks", json={"agentId": str(agent), "priority": 8, **SCRAPE})
    assert answer.status_code == 201
    body = answer.json()
    number = body["taskId"]
    assert body == {
        "success": True,
        "taskId": number,
        "data": {"taskId": number},
        "message": "Task created successfully",
    }
    assert number.isdigit()


async def test_a_task_shows_the_documented_fields_in_snake_case(api: Api) -> None:
    agent = await api.agent("browser-automation-agent")
    client = await api.client("user", subject="alice")
    number = (await client.post("/api/agents/tasks", json={"agentId": agent, **SCRAPE})).json()["taskId"]
    task = (await client.get(f"/api/agents/tasks/{number}")).json()["data"]
    assert task["id"] == number and task["agent_id"] == str(agent)
    assert task["agent_name"] == "browser-automation-agent"
    assert task["type"] == "scrape" and task["payload"] == SCRAPE["payload"]
    assert task["status"] == "pending" and task["result"] is None
    assert (task["priority"], task["max_retries"], task["timeout_ms"], task["retry_count"]) == (5, 3, 30_000, 0)
    assert task["created_by"] == "alice"
    assert task["created_at"].endswith("Z") and task["completed_at"] is None


async def test_both_spellings_of_a_field_mean_the_same(api: Api) -> None:
    agent = await api.agent()
    client = await api.client("user")
    for body in (
        {"agentId": str(agent), "maxRetries": 7, "timeoutMs": 5000},
        {"agent_id": str(agent), "max_retries": 7, "timeout_ms": 5000},
    ):
        number = (await client.post("/api/agents/tasks", json={**SCRAPE, **body})).json()["taskId"]
        task = (await client.get(f"/api/agents/tasks/{number}")).json()["data"]
        assert (task["max_retries"], task["timeout_ms"]) == (7, 5000)


async def test_a_timeout_in_the_payload_counts_where_none_is_given_beside_it(api: Api) -> None:
    agent = await api.agent()
    client = await api.client("user")

    async def timeout_of(payload: dict[str, object], **fields: object) -> int:
        body = {"agentId": str(agent), "type": "t", "payload": payload, **fields}
        number = (await client.post("/api/agents/tasks", json=body)).json()["taskId"]
        return int((await client.get(f"/api/agents/tasks/{number}")).json()["data"]["timeout_ms"])

    assert await timeout_of({"timeout": 45_000}) == 45_000
    assert await timeout_of({"timeout": 45_000}, timeout_ms=2000) == 2000
    assert await timeout_of({"timeout": 999}) == 30_000
    assert await timeout_of({"timeout": "45000"}) == 30_000
    assert await timeout_of({"timeout": True}) == 30_000


async def test_a_batch_is_created_as_a_whole_or_not_at_all(api: Api) -> None:
    agent = await api.agent()
    client = await api.client("user")
    tasks = [{"agentId": str(agent), **SCRAPE} for _ in range(3)]
    answer = await client.post("/api/agents/tasks/batch", json={"tasks": tasks})
    assert answer.status_code == 201 and len(answer.json()["data"]["taskIds"]) == 3
    bad = await client.post("/api/agents/tasks/batch", json={"tasks": [*tasks, {"agentId": "999", **SCRAPE}]})
    assert bad.status_code == 404
    listed = (await client.get("/api/agents/tasks")).json()["data"]["tasks"]
    assert len(listed) == 3


async def test_the_wrong_fields_of_a_batch_are_named_by_their_place(api: Api) -> None:
    client = await api.client("user")
    body = {"tasks": [{"agentId": "1", **SCRAPE}, {"agentId": "1", "type": "", "payload": []}]}
    answer = await client.post("/api/agents/tasks/batch", json=body)
    assert answer.status_code == 400
    assert {problem["field"] for problem in answer.json()["details"]} == {"tasks[1].type", "tasks[1].payload"}


async def test_an_empty_or_oversized_batch_is_refused(api: Api) -> None:
    client = await api.client("user")
    for tasks in ([], [{"agentId": "1", **SCRAPE}] * 1001):
        answer = await client.post("/api/agents/tasks/batch", json={"tasks": tasks})
        assert answer.status_code == 400 and answer.json()["code"] == "validation_failed"


async def test_an_idempotency_key_replays_the_same_request_and_refuses_another(api: Api) -> None:
    agent = await api.agent()
    client = await api.client("user")
    body = {"agentId": str(agent), **SCRAPE}
    first = await client.post("/api/agents/tasks", json=body, headers={"Idempotency-Key": "k1"})
    again = await client.post(
        "/api/agents/tasks", json={"agent_id": agent, **SCRAPE}, headers={"Idempotency-Key": "k1"}
    )
    other = await client.post("/api/agents/tasks", json={**body, "priority": 9, "idempotency_key": "k1"})
    stranger = await (await api.client("user")).post("/api/agents/tasks", json=body, headers={"Idempotency-Key": "k1"})
    assert first.status_code == 201 and "idempotent-replayed" not in first.headers
    assert again.status_code == 200 and again.headers["idempotent-replayed"] == "true"
    assert again.json()["taskId"] == first.json()["taskId"]
    assert other.status_code == 409 and other.json()["code"] == "conflict"
    assert stranger.status_code == 201 and stranger.json()["taskId"] != first.json()["taskId"]


async def test_a_batch_with_a_key_is_replayed_as_a_whole(api: Api) -> None:
    agent = await api.agent()
    client = await api.client("user")
    body = {"tasks": [{"agentId": str(agent), **SCRAPE}, {"agentId": str(agent), **SCRAPE}]}
    first = await client.post("/api/agents/tasks/batch", json=body, headers={"Idempotency-Key": "b"})
    again = await client.post("/api/agents/tasks/batch", json=body, headers={"Idempotency-Key": "b"})
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["data"] == again.json()["data"]
    assert len(set(first.json()["data"]["taskIds"])) == 2


async def test_unknown_agents_and_tasks_are_not_found(api: Api) -> None:
    client = await api.client()
    answer = await client.post("/api/agents/tasks", json={"agentId": "12345", **SCRAPE})
    assert answer.status_code == 404 and answer.json()["code"] == "not_found"
    for path in ("tasks/999", "tasks/999/explain", "tasks/999/attempts", "999", "999/statistics", "999/tasks"):
        missing = await client.get(f"/api/agents/{path}")
        assert missing.status_code == 404, path
    for path in ("tasks/999/cancel", "tasks/999/redrive", "999/start", "999/stop"):
        missing = await client.post(f"/api/agents/{path}")
        assert missing.status_code == 404, path


async def test_a_pending_task_can_be_cancelled_once(api: Api) -> None:
    agent = await api.agent()
    client = await api.client("user")
    number = (await client.post("/api/agents/tasks", json={"agentId": str(agent), **SCRAPE})).json()["taskId"]
    first = await client.post(f"/api/agents/tasks/{number}/cancel")
    assert first.status_code == 200 and first.json()["data"] == {"id": number, "status": "cancelled"}
    again = await client.post(f"/api/agents/tasks/{number}/cancel")
    assert again.status_code == 409 and again.json()["code"] == "conflict"
    redriven = await client.post(f"/api/agents/tasks/{number}/redrive")
    assert redriven.status_code == 409


async def test_tasks_are_listed_newest_first_page_by_page(api: Api) -> None:
    agent = await api.agent()
    client = await api.client("user")
    made = [
        (await client.post("/api/agents/tasks", json={"agentId": str(agent), **SCRAPE})).json()["taskId"]
        for _ in range(5)
    ]
    seen: list[str] = []
    cursor: str | None = None
    while True:
        parameters = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
        page = (await client.get("/api/agents/tasks", params=parameters)).json()["data"]
        seen += [task["id"] for task in page["tasks"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert seen == made[::-1]
    of_agent = (await client.get(f"/api/agents/{agent}/tasks", params={"limit": 2})).json()["data"]
    assert [task["id"] for task in of_agent["tasks"]] == made[:2:-1] and of_agent["total"] == 5


async def test_a_list_is_narrowed_by_its_filters(api: Api) -> None:
    agent = await api.agent()
    client = await api.client()
    for type_ in ("a", "b"):
        await client.post("/api/agents/tasks", json={"agentId": str(agent), "type": type_, "payload": {}})
    found = (await client.get("/api/agents/tasks", params={"type": "b", "status": "pending"})).json()["data"]["tasks"]
    assert [task["type"] for task in found] == ["b"]
    assert (await client.get("/api/agents/tasks", params={"status": "done"})).status_code == 400
    assert (await client.get("/api/agents/tasks", params={"limit": "0"})).status_code == 400


async def test_waiting_for_a_task_ends_when_it_is_final(api: Api) -> None:
    agent = await api.agent()
    client = await api.client("user")
    number = (await client.post("/api/agents/tasks", json={"agentId": str(agent), **SCRAPE})).json()["taskId"]
    waiting = asyncio.create_task(client.get(f"/api/agents/tasks/{number}", params={"wait": "20"}))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    await client.post(f"/api/agents/tasks/{number}/cancel")
    answer = await asyncio.wait_for(waiting, 0.5)
    assert answer.json()["data"]["status"] == "cancelled"


async def test_a_wait_that_is_over_shows_the_task_as_it_is(api: Api) -> None:
    agent = await api.agent()
    client = await api.client("user")
    number = (await client.post("/api/agents/tasks", json={"agentId": str(agent), **SCRAPE})).json()["taskId"]
    answer = await client.get(f"/api/agents/tasks/{number}", params={"wait": "0.05"})
    assert answer.status_code == 200 and answer.json()["data"]["status"] == "pending"
    assert (await client.get(f"/api/agents/tasks/{number}", params={"wait": "61"})).status_code == 400


async def test_a_task_by_capability_names_no_agent_until_it_is_claimed(api: Api) -> None:
    client = await api.client("user")
    body = {"capability": "ocr", "type": "read", "payload": {}}
    number = (await client.post("/api/agents/tasks", json=body)).json()["taskId"]
    task = (await client.get(f"/api/agents/tasks/{number}")).json()["data"]
    assert task["agent_id"] is None and task["capability"] == "ocr"
    both = await client.post("/api/agents/tasks", json={**body, "agentId": "1"})
    neither = await client.post("/api/agents/tasks", json={"type": "read", "payload": {}})
    assert both.status_code == neither.status_code == 400


async def test_an_explanation_names_the_gate_that_holds(api: Api) -> None:
    client = await api.client("user")
    body = {"capability": "ocr", "type": "read", "payload": {}}
    number = (await client.post("/api/agents/tasks", json=body)).json()["taskId"]
    found = (await client.get(f"/api/agents/tasks/{number}/explain")).json()["data"]
    assert found["id"] == number and found["status"] == "pending"
    assert found["held_by"] == "no_agent" and "ocr" in found["summary"]


async def test_declared_types_and_schemas_are_enforced(api: Api) -> None:
    schema = {"type": "object", "required": ["url"], "properties": {"url": {"type": "string"}}}
    agent = await api.agent(task_types={"scrape": schema, "ping": None})
    client = await api.client("user")

    async def submit(type_: str, payload: dict[str, object]) -> tuple[int, str | None]:
        answer = await client.post("/api/agents/tasks", json={"agentId": str(agent), "type": type_, "payload": payload})
        return answer.status_code, answer.json().get("code")

    assert await submit("scrape", {"url": "x"}) == (201, None)
    assert await submit("ping", {"anything": 1}) == (201, None)
    assert await submit("scrape", {"url": 5}) == (422, "payload_invalid")
    assert await submit("dance", {}) == (422, "unknown_type")


async def test_a_payload_over_its_limit_is_too_large(api: Api) -> None:
    agent = await api.agent()
    client = await api.client("user")
    body = {"agentId": str(agent), "type": "t", "payload": {"text": "x" * (1024 * 1024)}}
    answer = await client.post("/api/agents/tasks", json=body)
    assert answer.status_code == 413 and answer.json()["code"] == "too_large"
    body["payload"] = {"text": "x" * (2 * 1024 * 1024)}
    assert (await client.post("/api/agents/tasks", json=body)).status_code == 413
