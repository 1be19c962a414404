"""What clients send that they should not: each a clear refusal, never a 500."""

from __future__ import annotations

from functools import reduce

import pytest
from tests.support.api import Api, running_api

from workstation.api.dependencies import ApiSettings
from workstation.api.limits import Limits
from workstation.domain.buckets import Limit

GOOD = '{"agentId":"1","type":"t","payload":{}}'
DEEP = "[" * 200 + "]" * 200

BAD_BODIES: dict[str, bytes] = {
    "nothing": b"",
    "not JSON": b"{",
    "a form": b"agentId=1&type=t",
    "a list": b"[]",
    "null": b"null",
    "text": b'"x"',
    "two documents": GOOD.encode() * 2,
    "not UTF-8": b'{"agentId":"1","type":"\xff","payload":{}}',
    "not UTF-8 in the payload": b'{"agentId":"1","type":"t","payload":{"a":"\xff"}}',
    "a byte order mark": b"\xef\xbb\xbf" + GOOD.encode(),
    "NUL in a field": b'{"agentId":"1","type":"a\\u0000b","payload":{}}',
    "NUL deep in the payload": b'{"agentId":"1","type":"t","payload":{"a":[{"b":"\\u0000"}]}}',
    "NUL in a key": b'{"agentId":"1","type":"t","payload":{"\\u0000":1}}',
    "a raw NUL": b'{"agentId":"1","type":"a\x00b","payload":{}}',
    "a lone surrogate": b'{"agentId":"1","type":"t","payload":{"a":"\\ud800"}}',
    "a lone low surrogate": b'{"agentId":"1","type":"t","payload":{"a":"\\udc00x"}}',
    "a surrogate in a key": b'{"agentId":"1","type":"t","payload":{"\\ud800":1}}',
    "a key twice": b'{"agentId":"1","agentId":"2","type":"t","payload":{}}',
    "a key twice in the payload": b'{"agentId":"1","type":"t","payload":{"a":1,"a":2}}',
    "a key twice, once escaped": b'{"agentId":"1","type":"t","payload":{"a:":1,"a\\u003a":2}}',
    "a key in both spellings": b'{"agentId":"1","agent_id":"2","type":"t","payload":{}}',
    "too deep": f'{{"agentId":"1","type":"t","payload":{{"a":{DEEP}}}}}'.encode(),
    "much too deep": b'{"payload":' + b'{"a":' * 100_000,
    "a number beyond all": b'{"agentId":"1","type":"t","payload":{"a":1e999}}',
    "an integer beyond all": b'{"agentId":"1","type":"t","payload":{"a":' + b"9" * 5000 + b"}}",
    "not a number": b'{"agentId":"1","type":"t","payload":{"a":NaN}}',
    "infinity": b'{"agentId":"1","type":"t","payload":{"a":-Infinity}}',
    "a fraction that cannot be stored": b'{"agentId":"1","type":"t","payload":{"a":1e-20000}}',
    "a fraction of 20,000 digits": b'{"agentId":"1","type":"t","payload":{"a":0.' + b"1" * 20_000 + b"}}",
}
BAD_FIELDS: dict[str, tuple[str, dict[str, object]]] = {
    "an agent that is a word": ("agentId", {"agentId": "one"}),
    "an agent that is a list": ("agentId", {"agentId": ["1"]}),
    "an agent beyond bigint": ("agentId", {"agentId": "9223372036854775808"}),
    "an agent of twenty digits": ("agentId", {"agentId": "1" * 20}),
    "a negative agent": ("agentId", {"agentId": "-1"}),
    "an agent in other digits": ("agentId", {"agentId": "١"}),
    "an agent with a line end": ("agentId", {"agentId": "1\n"}),
    "an agent with a fraction": ("agentId", {"agentId": 1.5}),
    "SQL for an agent": ("agentId", {"agentId": "1; drop table agent_tasks"}),
    "no agent": ("agentId", {"agentId": None}),
    "an empty type": ("type", {"type": ""}),
    "a long type": ("type", {"type": "x" * 101}),
    "a type that is a number": ("type", {"type": 5}),
    "a payload that is a list": ("payload", {"payload": []}),
    "a payload that is text": ("payload", {"payload": "{}"}),
    "a payload that is null": ("payload", {"payload": None}),
    "priority 0": ("priority", {"priority": 0}),
    "priority 11": ("priority", {"priority": 11}),
    "a priority in words": ("priority", {"priority": "high"}),
    "a priority in a string": ("priority", {"priority": "5"}),
    "a priority that is true": ("priority", {"priority": True}),
    "half a priority": ("priority", {"priority": 5.5}),
    "negative retries": ("max_retries", {"max_retries": -1}),
    "too many retries": ("maxRetries", {"maxRetries": 101}),
    "too short a timeout": ("timeout_ms", {"timeout_ms": 999}),
    "too long a timeout": ("timeout_ms", {"timeout_ms": 86_400_001}),
    "a day that does not exist": ("run_at", {"run_at": "2024-02-30T00:00:00Z"}),
    "a time without an offset": ("run_at", {"run_at": "2024-02-20T00:00:00"}),
    "a region with a space": ("region", {"region": "e u"}),
    "a capability with an at sign": ("capability", {"agentId": None, "capability": "a@b"}),
    "an empty key": ("idempotency_key", {"idempotency_key": ""}),
    "a long key": ("idempotency_key", {"idempotency_key": "x" * 256}),
}
JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize("kind", BAD_BODIES)
async def test_a_body_that_cannot_be_taken_is_refused(api: Api, kind: str) -> None:
    await api.agent()
    client = await api.client("user")
    answer = await client.post("/api/agents/tasks", content=BAD_BODIES[kind], headers=JSON)
    assert answer.status_code == 400, answer.text
    body = answer.json()
    assert body["success"] is False and body["code"] == "validation_failed"
    assert (await client.get("/api/agents/tasks")).json()["data"]["tasks"] == []


@pytest.mark.parametrize("kind", BAD_FIELDS)
async def test_a_wrong_field_is_named(api: Api, kind: str) -> None:
    await api.agent()
    field, change = BAD_FIELDS[kind]
    client = await api.client("user")
    body = {"agentId": "1", "type": "t", "payload": {}, **change}
    answer = await client.post("/api/agents/tasks", json=body)
    assert answer.status_code == 400, answer.text
    assert [problem["field"] for problem in answer.json()["details"]] == [field]


async def test_every_wrong_field_is_named_at_once(api: Api) -> None:
    client = await api.client("user")
    answer = await client.post("/api/agents/tasks", json={"agentId": [], "priority": 99, "maxRetries": "x"})
    named = {problem["field"] for problem in answer.json()["details"]}
    assert named == {"agentId", "priority", "maxRetries", "type", "payload"}


STRANGE = {
    "escaped colons and backslashes": {"a": ":\\u0000:", "b\\": "\\\\u0000", "c:": [":"] * 3},
    "SQL": {"a": "'; drop table agent_tasks; --"},
    "templates": {"a": "{{7*7}} ${7*7} <%= 7*7 %>"},
    "a large integer": {"a": 2**200, "b": -(2**63) - 1},
    "many digits": {"a": 0.1234567890123456789},
    "emoji and the edges of Unicode": {"a": "😀\U0010ffff\ufffe", "𝔘": "\u2028"},
    "nearly a hundred levels": {"a": reduce(lambda inner, _: [inner], range(97), "x")},
    "an empty key": {"": ""},
}


@pytest.mark.parametrize("kind", STRANGE)
async def test_a_strange_payload_comes_back_as_it_was(api: Api, kind: str) -> None:
    await api.agent()
    client = await api.client("user")
    body = {"agentId": "1", "type": "t", "payload": STRANGE[kind]}
    answer = await client.post("/api/agents/tasks", json=body, headers={"Idempotency-Key": "k"})
    assert answer.status_code == 201, answer.text
    again = await client.post("/api/agents/tasks", json=body, headers={"Idempotency-Key": "k"})
    assert again.status_code == 200
    seen = await client.get(f"/api/agents/tasks/{answer.json()['taskId']}")
    assert seen.json()["data"]["payload"] == STRANGE[kind]


@pytest.mark.parametrize("number", ["x", "-1", "1.5", "9223372036854775808", "1" * 30, "%00", "1%20", "%E2%91%A0"])
async def test_an_id_that_is_no_number_is_refused(api: Api, number: str) -> None:
    client = await api.client()
    for path in (f"/api/agents/{number}", f"/api/agents/tasks/{number}", f"/api/agents/{number}/tasks"):
        answer = await client.get(path)
        assert answer.status_code == 400 and answer.json()["details"][0]["field"] == "id", path


@pytest.mark.parametrize(
    "query",
    ["limit=x", "limit=0", "limit=1001", "limit=1&limit=2", "cursor=x", "status=%00", "%FF=1", "agentId=1;2", "no=1"],
)
async def test_a_query_that_makes_no_sense_is_refused(api: Api, query: str) -> None:
    answer = await (await api.client()).get(f"/api/agents/tasks?{query}")
    assert answer.status_code == 400 and answer.json()["code"] == "validation_failed"


@pytest.mark.parametrize("seconds", ["-1", "61", "nan", "inf", "1e9", "", "null", "soon"])
async def test_a_wait_that_makes_no_sense_is_refused(api: Api, seconds: str) -> None:
    answer = await (await api.client()).get("/api/agents/tasks/1", params={"wait": seconds})
    assert answer.status_code == 400


async def test_a_body_of_another_kind_is_refused(api: Api) -> None:
    client = await api.client("user")
    for kind in ("text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1", "x"):
        answer = await client.post("/api/agents/tasks", content=GOOD, headers={"Content-Type": kind})
        assert answer.status_code == 400 and answer.json()["code"] == "validation_failed", kind
    for kind in ("application/json; charset=utf-8", "Application/JSON", "application/merge-patch+json"):
        answer = await client.post("/api/agents/tasks", content=GOOD, headers={"Content-Type": kind})
        assert answer.status_code == 404, kind


async def test_unknown_paths_and_methods_are_refused_in_the_same_shape(api: Api) -> None:
    client = await api.client()
    for path in ("/", "/api", "/api/nothing", "/api/agents/1/nothing", "/metrics", "/docs/../app.py", "//api/agents"):
        answer = await client.get(path)
        assert answer.status_code == 404 and answer.json()["code"] == "not_found", path
    for method, path, allow in (
        ("PUT", "/api/agents", "GET, HEAD, POST"),
        ("DELETE", "/api/agents/tasks/1", "GET, HEAD"),
        ("GET", "/api/agents/tasks/batch", "POST"),
        ("TRACE", "/health", "GET, HEAD"),
    ):
        answer = await client.request(method, path)
        assert answer.status_code == 405 and answer.headers["allow"] == allow
        assert answer.json()["code"] == "method_not_allowed"


async def test_a_trailing_slash_does_not_matter_and_head_is_get(api: Api) -> None:
    client = await api.client()
    assert (await client.get("/api/agents/")).status_code == 200
    assert (await client.head("/api/agents")).status_code == 200


async def test_a_request_id_is_echoed_if_it_is_sane_and_made_otherwise(api: Api) -> None:
    client = api.anonymous()
    assert (await client.get("/health", headers={"X-Request-Id": "abc-1.2"})).headers["x-request-id"] == "abc-1.2"
    made = {
        (await client.get("/health", headers=headers)).headers["x-request-id"]
        for headers in ({}, {"X-Request-Id": "a b"}, {"X-Request-Id": "x" * 129}, {"X-Request-Id": "a\tb"})
    }
    assert len(made) == 4 and not made & {"a b", "x" * 129}


async def test_what_breaks_inside_is_told_by_its_request_id_alone(
    api: Api, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    async def broken(task_id: int) -> None:
        raise RuntimeError("secret internals")

    monkeypatch.setattr(api.dispatcher, "get", broken)
    answer = await (await api.client()).get("/api/agents/tasks/1", headers={"X-Request-Id": "find-me"})
    assert answer.status_code == 500 and answer.json()["code"] == "internal"
    assert "find-me" in answer.json()["error"] and "secret" not in answer.text
    assert "find-me" in "".join(capfd.readouterr())


async def test_too_many_requests_are_refused_with_when_to_try_again(dsn: str) -> None:
    limits = Limits(per_token=Limit(1.0, 3), per_address=Limit(1.0, 3))
    async with running_api(dsn, ApiSettings(limits=limits)) as api:
        agent_id = 1
        user, other = await api.client("user"), await api.client("user")
        answers = [await user.get("/api/agents") for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert [answer.headers["ratelimit-remaining"] for answer in answers] == ["2", "1", "0", "0"]
        assert answers[0].headers["ratelimit-limit"] == "3"
        assert answers[3].json()["code"] == "rate_limited" and int(answers[3].headers["retry-after"]) >= 1
        assert int(answers[3].headers["ratelimit-reset"]) >= 1
        assert (await other.get("/api/agents")).status_code == 200
        nobody = api.anonymous()
        assert [(await nobody.get("/api/agents")).status_code for _ in range(4)] == [401, 401, 401, 429]
        assert (await nobody.get("/ready")).status_code == 200
        admin = await api.client()
        assert (await admin.post("/api/agents", json={"name": "a", "type": "custom"})).status_code == 201
        agent = await api.client("agent", agent_id)
        body = {"healthStatus": "healthy"}
        beats = [await agent.post(f"/api/agents/{agent_id}/health", json=body) for _ in range(6)]
        assert {answer.status_code for answer in beats} == {200}
        assert "ratelimit-limit" not in beats[0].headers


async def test_pages_of_allowed_origins_may_read_and_others_are_told_nothing(dsn: str) -> None:
    async with running_api(dsn, ApiSettings(allowed_origins=("https://app.example.com",))) as api:
        client = await api.client()
        good, bad = {"Origin": "https://app.example.com"}, {"Origin": "https://evil.example.com"}
        allowed = await client.get("/api/agents", headers=good)
        assert allowed.headers["access-control-allow-origin"] == "https://app.example.com"
        assert "X-Request-Id" in allowed.headers["access-control-expose-headers"]
        refused = await client.get("/api/agents", headers=bad)
        assert refused.status_code == 200 and not [h for h in refused.headers if h.startswith("access-control")]
        assert allowed.headers["vary"] == refused.headers["vary"] == "Origin"
        ask = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
        preflight = await api.anonymous().options("/api/agents/tasks", headers={**good, **ask})
        assert preflight.status_code == 204
        assert "POST" in preflight.headers["access-control-allow-methods"]
        assert "Authorization" in preflight.headers["access-control-allow-headers"]
        denied = await api.anonymous().options("/api/agents/tasks", headers={**bad, **ask})
        assert denied.status_code == 204 and not [h for h in denied.headers if h.startswith("access-control")]
        nobody = await api.anonymous().get("/api/agents", headers=good)
        assert nobody.status_code == 401 and "access-control-allow-origin" in nobody.headers


async def test_without_allowed_origins_nothing_is_said_of_origins(api: Api) -> None:
    answer = await (await api.client()).get("/api/agents", headers={"Origin": "https://app.example.com"})
    assert "access-control-allow-origin" not in answer.headers and "vary" not in answer.headers


async def test_ready_tells_what_is_missing(api: Api) -> None:
    client = api.anonymous()
    assert (await client.get("/ready")).json() == {"success": True, "data": {"status": "ready"}}
    api.missing.append("built-in agents are not registered")
    answer = await client.get("/ready")
    assert answer.status_code == 503 and answer.json()["code"] == "unavailable"
    assert "built-in agents are not registered" in answer.json()["error"] and "retry-after" in answer.headers
    assert (await client.get("/health")).status_code == 200


async def test_the_documents_bring_everything_with_them(api: Api) -> None:
    client = api.anonymous()
    page = await client.get("/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "script-src 'self'" in page.headers["content-security-policy"]
    for part in (page.text, (await client.get("/docs/docs.js")).text, (await client.get("/docs/docs.css")).text):
        assert "http://" not in part and "https://" not in part
