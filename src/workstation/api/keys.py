"""Keys that check tokens. Each key has its one algorithm; a token's own word about it only selects, never decides."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import httpx
import jwt
from jwt.types import Options

from workstation.domain.errors import Unauthenticated, Unavailable
from workstation.services import signing
from workstation.services.signing import SigningKey

_FETCH_SECONDS: Final = 3.0
_MAX_KEY_SET_BYTES: Final = 256 * 1024
_REFRESH_AFTER_SECONDS: Final = 600.0
_UNKNOWN_KEY_PAUSE_SECONDS: Final = 30.0
_ASYMMETRIC: Final = frozenset({"RS256", "ES256", "EdDSA"})
_CURVE_ALGORITHM: Final = {"P-256": "ES256", "Ed25519": "EdDSA"}
_OURS: Final[Options] = {"require": ["exp", "iss", "aud", "sub", "jti"], "verify_iat": False}
_THEIRS: Final[Options] = {"require": ["exp", "iss", "aud", "sub"], "verify_iat": False}


@dataclass(frozen=True, slots=True)
class KeySource:
    """An identity provider: where its keys are, and what its tokens must say."""

    url: str
    issuer: str
    audience: str


def check_own(key: SigningKey, token: str) -> dict[str, Any]:
    """The claims of a token that our key signed. Raises jwt.InvalidTokenError."""
    return jwt.decode(
        token,
        key.secret,
        algorithms=[signing.ALGORITHM],
        issuer=signing.ISSUER,
        audience=signing.AUDIENCE,
        options=_OURS,
    )


class KeySet:
    """The published keys of an identity provider.

    A key nobody knows makes us look again, at most every 30 s; known keys are looked up again behind the scenes.
    """

    def __init__(self, source: KeySource, monotonic: Callable[[], float], client: httpx.AsyncClient) -> None:
        self._source = source
        self._monotonic = monotonic
        self._client = client
        self._keys: Mapping[str, tuple[jwt.PyJWK, str]] = {}
        self._fetched = False
        self._tried_at: float | None = None
        self._lock = asyncio.Lock()
        self._refresh: asyncio.Task[None] | None = None

    async def check(self, token: str, key_id: str, algorithm: str) -> dict[str, Any]:
        """The claims of a token of this provider. Raises jwt.InvalidTokenError, or Unavailable without any keys."""
        key, own_algorithm = await self._key(key_id)
        if algorithm != own_algorithm:
            raise jwt.InvalidAlgorithmError("The key is for another algorithm")
        return jwt.decode(
            token,
            key.key,
            algorithms=[own_algorithm],
            issuer=self._source.issuer,
            audience=self._source.audience,
            options=_THEIRS,
        )

    async def _key(self, key_id: str) -> tuple[jwt.PyJWK, str]:
        if key_id not in self._keys:
            async with self._lock:
                if key_id not in self._keys and self._may_fetch(_UNKNOWN_KEY_PAUSE_SECONDS):
                    await self._fetch()
        elif self._may_fetch(_REFRESH_AFTER_SECONDS) and (self._refresh is None or self._refresh.done()):
            self._refresh = asyncio.create_task(self._fetch(), name="identity provider keys")
        if not self._fetched:
            raise Unavailable("The keys of the identity provider cannot be read now; try again in a moment.")
        if key_id not in self._keys:
            raise Unauthenticated("The token is signed with a key the identity provider does not publish.")
        return self._keys[key_id]

    def _may_fetch(self, pause: float) -> bool:
        return self._tried_at is None or self._monotonic() - self._tried_at > pause

    async def _fetch(self) -> None:
        self._tried_at = self._monotonic()
        try:
            answer = await self._client.get(self._source.url, timeout=_FETCH_SECONDS, follow_redirects=False)
            answer.raise_for_status()
            if len(answer.content) > _MAX_KEY_SET_BYTES:
                return
            self._keys = _usable(answer.json())
        except (httpx.HTTPError, ValueError):
            return
        self._fetched = True


def _usable(document: Any) -> dict[str, tuple[jwt.PyJWK, str]]:
    """The signing keys of a key set by their id; symmetric ones, other kinds and those without an id are left out."""
    found: dict[str, tuple[jwt.PyJWK, str]] = {}
    entries = document.get("keys", ()) if isinstance(document, dict) else ()
    for entry in entries:
        algorithm = _algorithm(entry) if isinstance(entry, dict) else None
        if algorithm is None or not isinstance(entry.get("kid"), str) or entry.get("use", "sig") != "sig":
            continue
        try:
            found[entry["kid"]] = (jwt.PyJWK(entry, algorithm), algorithm)
        except (jwt.PyJWTError, ValueError, TypeError):
            continue
    return found


def _algorithm(entry: Mapping[str, Any]) -> str | None:
    by_kind = "RS256" if entry.get("kty") == "RSA" else _CURVE_ALGORITHM.get(str(entry.get("crv")))
    return by_kind if entry.get("alg", by_kind) == by_kind and by_kind in _ASYMMETRIC else None
