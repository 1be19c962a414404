"""Who gets in: forged and broken tokens, revocation, the token routes."""

import asyncio
import time
from collections.abc import AsyncIterator
from functools import reduce
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.support.api import KEY, Api, running_api
from tests.support.forging import claims, token, unsigned

from workstation.api.dependencies import ApiSettings, Clock

PUBLIC_PEM = (
    rsa.generate_private_key(65537, 2048).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
)
GOOD = token(KEY.secret, claims())

FORGED = {
    "no signature": unsigned(claims()),
    "no signature, other spelling": unsigned(claims(), "NoNe"),
    "another key": token(b"another secret, 32 bytes at least", claims()),
    "an empty key": token(b"", claims()),
    "the public key as a secret": token(PUBLIC_PEM, claims()),
    "an algorithm of public keys with our secret": token(KEY.secret, claims(), {"alg": "RS256"}),
    "a longer hash than ours": token(KEY.secret, claims(), {"alg": "HS512"}),
    "no algorithm": token(KEY.secret, claims(), {"typ": "JWT"}),
    "an algorithm that is no string": token(KEY.secret, claims(), {"alg": ["HS256"]}),
    "an embedded key": token(b"x" * 32, claims(), {"alg": "HS256", "jwk": {"kty": "oct", "k": "eHh4"}}),
    "a key by address": token(b"x" * 32, claims(), {"alg": "HS256", "jku": "http://127.0.0.1:1/keys", "kid": "k"}),
    "a key id that is a path": token(b"", claims(), {"alg": "HS256", "kid": "../../dev/null"}),
    "an unknown critical header": token(KEY.secret, claims(), {"alg": "HS256", "crit": ["exp2"], "exp2": 1}),
    "expired": token(KEY.secret, claims(exp=int(time.time()) - 1)),
    "without an end": token(KEY.secret, claims(exp=None)),
    "an end that is no number": token(KEY.secret, claims(exp="tomorrow")),
    "an end beyond all numbers": token(KEY.secret, claims(exp=10**400)),
    "not yet valid": token(KEY.secret, claims(nbf=int(time.time()) + 600)),
    "another issuer": token(KEY.secret, claims(iss="elsewhere")),
    "no issuer": token(KEY.secret, claims(iss=None)),
    "another audience": token(KEY.secret, claims(aud="elsewhere")),
    "no audience": token(KEY.secret, claims(aud=None)),
    "no subject": token(KEY.secret, claims(sub=None)),
    "an empty subject": token(KEY.secret, claims(sub="")),
    "a subject that is no string": token(KEY.secret, claims(sub=5)),
    "a subject with a NUL": token(KEY.secret, claims(sub="a\0b")),
    "a subject kept for agents": token(KEY.secret, claims(sub="agent:1", role="user")),
    "no role": token(KEY.secret, claims(role=None)),
    "an unknown role": token(KEY.secret, claims(role="root")),
    "roles in a list": token(KEY.secret, claims(role=["admin"])),
    "an agent without a number": token(KEY.secret, claims(role="agent")),
    "an agent with a word for a number": token(KEY.secret, claims(role="agent", agent="one")),
    "an agent with too big a number": token(KEY.secret, claims(role="agent", agent="9" * 19)),
    "no id": token(KEY.secret, claims(jti=None)),
    "an id that is no string": token(KEY.secret, claims(jti=7)),
    "claims that are no object": token(KEY.secret, ["admin"]),  # type: ignore[arg-type]
    "giant": token(KEY.secret, claims(padding="x" * 100_000)),
    "deep": token(b"x" * 32, claims(), {"alg": "HS256", "x": reduce(lambda inner, _: [inner], range(900), [])}),
    "a flipped bit": GOOD[:-3] + ("A" if GOOD[-3] != "A" else "B") + GOOD[-2:],
    "a flipped claim": GOOD.replace(GOOD.split(".")[1][20], "A" if GOOD.split(".")[1][20] != "A" else "B", 1),
    "two parts": GOOD.rpartition(".")[0],
    "four parts": GOOD + ".x",
    "words": "let me in",
    "nothing": "",
    "not ASCII": "tök.en.x",
    "percent signs": "%00.%00.%00",
}


@pytest.mark.parametrize("kind", FORGED)
async def test_a_forged_token_is_refused(api: Api, kind: str) -> None:
    headers = [(b"authorization", b"Bearer " + FORGED[kind].encode())]
    answer = await api.anonymous().get("/api/agents", headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    body = answer.json()
    assert body["success"] is False and body["code"] == "unauthenticated" and body["error"].endswith(".")


@pytest.mark.parametrize("header", ["", "Basic dXNlcjpwdw==", "Bearer", "Bearer  ", GOOD, f"Token {GOOD}"])
async def test_anything_but_a_bearer_token_is_refused(api: Api, header: str) -> None:
    answer = await api.anonymous().get("/api/agents", headers={"Authorization": header})
    assert answer.status_code == 401


async def test_a_good_token_is_let_in_whatever_the_case_of_its_scheme(api: Api) -> None:
    for scheme in ("Bearer", "bearer", "BEARER"):
        answer = await api.anonymous().get("/api/agents", headers={"Authorization": f"{scheme} {GOOD}"})
        assert answer.status_code == 200


async def test_no_token_is_refused_everywhere_under_api(api: Api) -> None:
    client = api.anonymous()
    for route in api.app.router.routes:
        path = route.path.replace(":id", "1")
        answer = await client.request(route.method, path)
        expected = 401 if route.rule.needs_token else 200
        assert answer.status_code == expected, (route.method, path)


async def test_a_revoked_token_is_refused_at_once_and_stays_so(api: Api) -> None:
    admin = await api.client()
    issued = (await admin.post("/api/tokens", json={"role": "user", "subject": "bob"})).json()["data"]
    bob = api.anonymous({"Authorization": f"Bearer {issued['token']}"})
    assert (await bob.get("/api/agents")).status_code == 200
    assert (await admin.delete(f"/api/tokens/{issued['id']}")).status_code == 200
    for _ in range(2):
        refused = await bob.get("/api/agents")
        assert refused.status_code == 401 and "revoked" in refused.json()["error"]
    assert (await admin.delete(f"/api/tokens/{issued['id']}")).status_code == 200
    assert (await admin.delete(f"/api/tokens/{uuid4()}")).status_code == 404
    assert (await admin.delete("/api/tokens/1")).status_code == 400


async def test_a_revocation_elsewhere_is_known_after_the_next_look(api: Api) -> None:
    told: list[frozenset[str]] = []
    api.revocations.on_revoked(told.append)
    bob = await api.client("user")
    assert (await bob.get("/api/agents")).status_code == 200
    async with api.database.session() as connection:
        await connection.execute("update tokens set revoked_at = now() where role = 'user'")
    assert await api.revocations.refresh() == 1
    assert (await bob.get("/api/agents")).status_code == 401
    assert [len(ids) for ids in told] == [1]
    assert await api.revocations.refresh() == 0


async def test_the_tokens_of_a_launch_are_revoked_together(api: Api) -> None:
    from datetime import timedelta

    from workstation.domain.principal import Role
    from workstation.services import tokens

    agent, launch = await api.agent(), uuid4()
    wish = tokens.TokenWish(Role.AGENT, None, agent, launch, timedelta(hours=1))
    issued = await tokens.issue(api.database, KEY, wish, created_by="supervisor")
    client = api.anonymous({"Authorization": f"Bearer {issued.token}"})
    assert (await client.get(f"/api/agents/{agent}")).status_code == 200
    async with api.database.transaction() as connection:
        assert await tokens.revoke_for_launch(connection, launch, actor="supervisor") == [issued.row.id]
    await api.revocations.refresh()
    assert (await client.get(f"/api/agents/{agent}")).status_code == 401


async def test_issued_tokens_are_listed_without_their_text(api: Api) -> None:
    admin = await api.client()
    body = {"role": "user", "subject": "alice", "expires_in_seconds": 60}
    issued = await admin.post("/api/tokens", json=body)
    assert issued.status_code == 201
    text = issued.json()["data"]["token"]
    pages = []
    cursor = None
    while True:
        answer = await admin.get("/api/tokens", params={"limit": "1"} | ({"cursor": cursor} if cursor else {}))
        assert text not in answer.text
        pages += answer.json()["data"]["tokens"]
        cursor = answer.json()["data"]["next"]
        if cursor is None:
            break
    assert [token["subject"] for token in pages] == ["alice", "admin-1"]
    assert (await admin.get("/api/tokens", params={"cursor": "nonsense"})).status_code == 400


@pytest.mark.parametrize(
    "body",
    [
        {"role": "agent"},
        {"role": "user", "agentId": "1"},
        {"role": "user", "subject": "agent:1"},
        {"role": "root"},
        {"role": "user", "expires_in_seconds": 0},
        {"role": "user", "subject": ""},
        {},
    ],
)
async def test_a_token_that_makes_no_sense_is_not_issued(api: Api, body: dict[str, object]) -> None:
    answer = await (await api.client()).post("/api/tokens", json=body)
    assert answer.status_code == 400 and answer.json()["code"] == "validation_failed"


async def test_a_token_for_an_unknown_agent_is_not_issued(api: Api) -> None:
    answer = await (await api.client()).post("/api/tokens", json={"role": "agent", "agentId": "999"})
    assert answer.status_code == 404


@pytest.fixture
async def later(dsn: str) -> AsyncIterator[tuple[Api, list[float]]]:
    """An API whose wall clock the test moves: seconds ahead of now."""
    ahead = [0.0]
    clock = Clock(wall=lambda: time.time() + ahead[0])
    async with running_api(dsn, ApiSettings(), clock) as api:
        yield api, ahead


async def test_a_remembered_token_expires_all_the_same(later: tuple[Api, list[float]]) -> None:
    api, ahead = later
    client = await api.client("user")
    assert (await client.get("/api/agents")).status_code == 200
    ahead[0] = 3540
    assert (await client.get("/api/agents")).status_code == 200
    ahead[0] = 3601
    answer = await client.get("/api/agents")
    assert answer.status_code == 401 and "expired" in answer.json()["error"]


async def test_verifying_many_tokens_at_once_keeps_each_caller_apart(api: Api) -> None:
    agent = await api.agent()
    clients = [await api.client("user", subject=f"user-{number}") for number in range(20)]
    body = {"agentId": agent, "type": "t", "payload": {}}
    made = await asyncio.gather(*(client.post("/api/agents/tasks", json=body) for client in clients))
    for number, (client, answer) in enumerate(zip(clients, made, strict=True)):
        task = (await client.get(f"/api/agents/tasks/{answer.json()['taskId']}")).json()["data"]
        assert task["created_by"] == f"user-{number}"
