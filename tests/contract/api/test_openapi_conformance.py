"""The OpenAPI document against the server: nothing it allows breaks it, nothing that is answered is undocumented."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck, Phase, settings
from tests.support.api import KEY, Api, running_api
from tests.support.forging import claims, token

from workstation.api.openapi import document
from workstation.api.routes.system import openapi_route
from workstation.api.routes.table import ROUTES
from workstation.server.http import HttpProtocol


@pytest.fixture(scope="module")
def served(migrated: str) -> Iterator[str]:
    """The address of the whole API behind a real HTTP server in a thread, with one agent and one task in it."""
    ready = threading.Event()
    found: dict[str, Any] = {}

    async def run() -> None:
        async with running_api(migrated) as api:
            agent = await api.agent("for-the-document")
            await (await api.client()).post("/api/agents/tasks", json={"agentId": agent, "type": "t", "payload": {}})
            server = uvicorn.Server(
                uvicorn.Config(api.app, host="127.0.0.1", port=0, http=HttpProtocol, log_level="error")
            )
            serving = asyncio.create_task(server.serve())
            while not server.started:
                await asyncio.sleep(0.01)
            found.update(server=server, port=server.servers[0].sockets[0].getsockname()[1])
            ready.set()
            await serving

    thread = threading.Thread(target=asyncio.run, args=(run(),), daemon=True)
    thread.start()
    assert ready.wait(30)
    yield f"http://127.0.0.1:{found['port']}"
    found["server"].should_exit = True
    thread.join(30)


app_routes = (*ROUTES, openapi_route(ROUTES))
# NUL is refused in every string, which JSON Schema cannot say.
# 422: whether an agent does tasks of a type depends on the agent, which no document can know.
config = schemathesis.Config.from_dict(
    {
        "generation": {"allow-x00": False},
        "checks": {"positive_data_acceptance": {"expected-statuses": ["2xx", 401, 403, 404, 409, 422, 429, 503]}},
    }
)
schema = schemathesis.openapi.from_dict(document(app_routes, version("workstation")), config=config)


def within(value: object, most: float) -> bool:
    """Whether a value is a number that the document allows; others stay as they are, to be refused."""
    try:
        return 0 <= float(value) <= most  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False


def hurry(case: Any) -> None:
    """Long waits and endless streams have tests of their own."""
    if case.path.endswith(("/start", "/stop", "/restart")) and "wait" not in (case.query or {}):
        case.query = {**(case.query or {}), "wait": "0"}
    if case.query and within(case.query.get("wait"), 120):
        case.query = {**case.query, "wait": "0"}
    if case.query and str(case.query.get("follow")).lower() in ("true", "1"):
        case.query = {**case.query, "follow": "false"}
    if isinstance(case.body, dict) and within(case.body.get("wait_ms"), 60_000):
        case.body = {**case.body, "wait_ms": 0}


@schema.parametrize()
@settings(
    max_examples=20,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_what_is_served_is_what_is_documented(served: str, case: Any) -> None:
    hurry(case)
    # Not in the database, so that no case can revoke what the next one needs.
    secret = token(KEY.secret, claims(exp=int(time.time()) + 3600))
    case.call_and_validate(base_url=served, headers={"Authorization": f"Bearer {secret}"})


async def test_the_served_document_is_the_one_that_is_tested(api: Api) -> None:
    answer = await api.anonymous().get("/openapi.json")
    assert answer.json() == schema.raw_schema
