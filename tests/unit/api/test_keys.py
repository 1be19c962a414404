"""Keys of an identity provider: pinned algorithms, bounded refreshes, no trust in what a token says of itself."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from workstation.api.auth import Authenticator
from workstation.api.keys import KeySet, KeySource
from workstation.api.revocations import Revocations
from workstation.domain.errors import Unauthenticated, Unavailable
from workstation.domain.principal import Role
from workstation.services.signing import SigningKey

SOURCE = KeySource("https://id.example.com/keys", "https://id.example.com", "workstation-prod")
RSA, EC, ED = (
    rsa.generate_private_key(65537, 2048),
    ec.generate_private_key(ec.SECP256R1()),
    ed25519.Ed25519PrivateKey.generate(),
)
OTHER = rsa.generate_private_key(65537, 2048)
OWN = SigningKey(b"our own secret of thirty-two bytes")


def published(*wanted: str) -> dict[str, Any]:
    """The key set with these keys."""
    keys = {
        "rsa": {**json.loads(RSAAlgorithm.to_jwk(RSA.public_key())), "kid": "rsa", "alg": "RS256", "use": "sig"},
        "ec": {**json.loads(ECAlgorithm.to_jwk(EC.public_key())), "kid": "ec"},
        "ed": {**json.loads(OKPAlgorithm.to_jwk(ED.public_key())), "kid": "ed"},
        "oct": {"kty": "oct", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0", "kid": "oct", "alg": "HS256"},
        "enc": {**json.loads(RSAAlgorithm.to_jwk(RSA.public_key())), "kid": "enc", "use": "enc"},
        "broken": {"kty": "RSA", "kid": "broken", "n": "!", "e": "AQAB"},
    }
    return {"keys": [keys[name] for name in wanted]}


def claims(**changed: Any) -> dict[str, Any]:
    """Good claims of the provider."""
    good = {"iss": SOURCE.issuer, "aud": SOURCE.audience, "sub": "alice", "role": "user", "exp": int(time.time()) + 60}
    return {**good, **changed}


class Provider:
    """A provider that counts how often its keys are read."""

    def __init__(self) -> None:
        self.document: Any = published("rsa", "ec", "ed", "oct", "enc", "broken")
        self.status = 200
        self.reads = 0
        self.now = 1000.0

    def answer(self, request: httpx.Request) -> httpx.Response:
        """The key set."""
        self.reads += 1
        if self.status == 0:
            raise httpx.ConnectError("nobody there", request=request)
        return httpx.Response(self.status, json=self.document, headers={"location": "https://evil.example.com/"})


@pytest.fixture
def provider() -> Provider:
    """A provider with every kind of key."""
    return Provider()


@pytest.fixture
async def authenticator(provider: Provider) -> AsyncIterator[Authenticator]:
    """An authenticator that trusts the provider besides our own key."""
    async with httpx.AsyncClient(transport=httpx.MockTransport(provider.answer)) as client:
        keys = KeySet(SOURCE, lambda: provider.now, client)
        revocations = Revocations(None)  # type: ignore[arg-type]
        yield Authenticator(OWN, revocations, time.time, keys)


def bearer(key: Any, algorithm: str, kid: str | None, **changed: Any) -> bytes:
    """An Authorization header."""
    headers = {} if kid is None else {"kid": kid}
    return b"Bearer " + jwt.encode(claims(**changed), key, algorithm=algorithm, headers=headers).encode()


@pytest.mark.parametrize(("key", "algorithm", "kid"), [(RSA, "RS256", "rsa"), (EC, "ES256", "ec"), (ED, "EdDSA", "ed")])
async def test_a_token_of_the_provider_is_let_in(
    authenticator: Authenticator, provider: Provider, key: Any, algorithm: str, kid: str
) -> None:
    header = bearer(key, algorithm, kid)
    principal = await authenticator.authenticate(header)
    assert (principal.subject, principal.role) == ("alice", Role.USER)
    await authenticator.authenticate(header)
    assert provider.reads == 1


@pytest.mark.parametrize(
    "header",
    [
        bearer(OTHER, "RS256", "rsa"),
        bearer(RSA, "RS512", "rsa"),
        bearer(RSA, "PS256", "rsa"),
        bearer(RSA, "RS256", "ec"),
        bearer(RSA, "RS256", None),
        bearer(RSA, "RS256", "enc"),
        bearer("secretsecretsecretsecretsecretse", "HS256", "oct"),
        bearer(RSA, "RS256", "rsa", iss="https://evil.example.com"),
        bearer(RSA, "RS256", "rsa", aud="workstation"),
        bearer(RSA, "RS256", "rsa", exp=int(time.time()) - 1),
        bearer(RSA, "RS256", "rsa", role="root"),
        bearer(RSA, "RS256", "rsa", sub="agent:1"),
        bearer(OWN.secret, "HS256", "rsa"),
    ],
)
async def test_a_token_that_is_not_quite_the_providers_is_refused(authenticator: Authenticator, header: bytes) -> None:
    with pytest.raises(Unauthenticated):
        await authenticator.authenticate(header)


async def test_unknown_keys_make_us_look_again_but_not_often(authenticator: Authenticator, provider: Provider) -> None:
    provider.document = published("ec")
    for _ in range(5):
        with pytest.raises(Unauthenticated):
            await authenticator.authenticate(bearer(RSA, "RS256", "rsa"))
    assert provider.reads == 1
    provider.document = published("ec", "rsa")
    provider.now += 31
    await asyncio.gather(*(authenticator.authenticate(bearer(RSA, "RS256", "rsa")) for _ in range(5)))
    assert provider.reads == 2


async def test_known_keys_stay_good_while_the_provider_is_away(
    authenticator: Authenticator, provider: Provider
) -> None:
    await authenticator.authenticate(bearer(RSA, "RS256", "rsa"))
    provider.status = 0
    provider.now += 3600
    await authenticator.authenticate(bearer(RSA, "RS256", "rsa", sub="bob"))
    await asyncio.sleep(0)
    assert (await authenticator.authenticate(bearer(RSA, "RS256", "rsa", sub="eve"))).subject == "eve"


@pytest.mark.parametrize("status", [0, 302, 500])
async def test_without_any_keys_the_answer_is_to_try_again(
    authenticator: Authenticator, provider: Provider, status: int
) -> None:
    provider.status = status
    with pytest.raises(Unavailable):
        await authenticator.authenticate(bearer(RSA, "RS256", "rsa"))


@pytest.mark.parametrize("document", [[], {"keys": 5}, {"keys": [5, {"kty": []}]}, "x", {}])
async def test_a_key_set_that_is_none_is_no_harm(
    authenticator: Authenticator, provider: Provider, document: Any
) -> None:
    provider.document = document
    with pytest.raises((Unauthenticated, Unavailable)):
        await authenticator.authenticate(bearer(RSA, "RS256", "rsa"))
