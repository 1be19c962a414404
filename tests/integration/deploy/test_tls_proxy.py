"""The TLS proxy of deploy/ in front of two servers: agents and clients come through it, also when one server dies."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import httpx
import pytest
from tests.support.agent_process import AgentProcess, Journal
from tests.support.guardian import guarded_folder
from tests.support.live_server import LiveServer
from tests.support.tls_proxy import TlsProxy
from tests.support.waiting import until

from workstation_sdk import Client
from workstation_sdk.errors import Unreachable

SECRET = "a secret of both servers, 32 bytes long"


@dataclass
class Proxied:
    """Two servers behind the proxy, and an agent that only knows the proxy."""

    proxy: TlsProxy
    servers: list[LiveServer]
    agent: int
    client: httpx.AsyncClient
    trust: ssl.SSLContext

    async def done(self, type: str = "quick", wait: float = 20, **payload: object) -> str:
        """The final state of a new task."""
        task = {"agentId": str(self.agent), "type": type, "payload": payload}
        answer = await self.client.post("/api/agents/tasks", json=task)
        assert answer.status_code == 201, answer.text
        answer = await self.client.get(f"/api/agents/tasks/{answer.json()['taskId']}", params={"wait": wait})
        return str(answer.json()["data"]["status"])


def test_nginx_has_nothing_against_the_configuration() -> None:
    proxy = TlsProxy(3001, 3002)
    try:
        assert proxy.trouble() is None
    finally:
        proxy.remove()


@pytest.fixture
async def proxied(database: str) -> AsyncIterator[Proxied]:
    """All of it, working."""
    async with AsyncExitStack() as stack:
        environment = {"DATABASE_URL": database, "JWT_SECRET": SECRET, "WORKSTATION_TRUSTED_PROXIES": "127.0.0.1"}
        servers = []
        for _ in range(2):
            server = LiveServer(stack.enter_context(guarded_folder()), environment)
            await server.start()
            stack.push_async_callback(server.close)
            servers.append(server)
        proxy = TlsProxy(servers[0].port, servers[1].port)
        stack.callback(proxy.remove)
        proxy.start()
        trust = ssl.create_default_context(cafile=str(proxy.certificate))
        headers = {"Authorization": f"Bearer {servers[0].token}"}
        client = await stack.enter_async_context(
            httpx.AsyncClient(base_url=proxy.url, verify=trust, headers=headers, timeout=70)
        )
        agent = await servers[0].register("behind", max_concurrency=5)
        token = await servers[0].agent_token(agent)
        home = servers[0]
        process = AgentProcess(
            home,
            agent,
            token,
            Journal(home.folder / "journal"),
            "behind",
            url=proxy.url,
            SSL_CERT_FILE=str(proxy.certificate),
        )
        stack.callback(process.end)

        async def connected() -> bool:
            answer = await client.get(f"/api/agents/{agent}")
            return bool(answer.json()["data"]["agent"]["status"] == "running")

        await until(connected, within=30, what=f"the agent's connection ({process.log.read_text()})")
        yield Proxied(proxy, servers, agent, client, trust)


@pytest.mark.timeout(150)
async def test_agent_and_client_come_through_and_outlive_a_dead_server(proxied: Proxied) -> None:
    assert await proxied.done() == "completed"
    began = time.monotonic()
    assert await proxied.done("lasting", seconds=3.0) == "completed"
    assert time.monotonic() - began >= 3, "the long poll did not wait"
    for victim in proxied.servers:
        victim.kill()
        # Whoever had the agent: it comes back through the proxy, to the server that lives.
        for _ in range(5):
            assert (await proxied.client.get("/ready")).status_code == 200
        assert await proxied.done(wait=60) == "completed"
        await victim.start()
        await asyncio.sleep(2.5)  # The proxy leaves it out for 2 s more.


@pytest.mark.timeout(150)
async def test_a_server_that_goes_down_is_left_out_without_an_error(proxied: Proxied) -> None:
    going = asyncio.create_task(proxied.servers[0].terminate(within=40))
    states = set()
    while not going.done():
        states.add((await proxied.client.get("/api/agents")).status_code)
        await asyncio.sleep(0.02)
    assert (await going)[0] == 0
    assert states == {200}
    assert await proxied.done(wait=60) == "completed"


async def test_a_client_of_the_sdk_believes_the_authorities_it_is_told_of(
    proxied: Proxied, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ready() -> object:
        with Client(proxied.proxy.url, proxied.servers[0].token) as client:
            return client.call("GET", "/ready", tries=1)

    with pytest.raises(Unreachable, match="CERTIFICATE_VERIFY_FAILED"):
        await asyncio.to_thread(ready)
    monkeypatch.setenv("SSL_CERT_FILE", str(proxied.proxy.certificate))
    assert await asyncio.to_thread(ready) == {"status": "ready"}


async def test_each_address_without_a_token_has_a_limit_of_its_own_that_no_header_widens(proxied: Proxied) -> None:
    def caller(address: str) -> httpx.AsyncClient:
        transport = httpx.AsyncHTTPTransport(verify=proxied.trust, local_address=address)
        return httpx.AsyncClient(base_url=proxied.proxy.url, transport=transport)

    async with caller("127.0.0.3") as flooder, caller("127.0.0.4") as other:
        last = None
        for number in range(200):
            forged = {"X-Forwarded-For": f"198.51.100.{number}"}
            last = await flooder.get("/api/agents", headers=forged)
        assert last is not None and last.status_code == 429
        assert (await other.get("/api/agents")).status_code == 401
