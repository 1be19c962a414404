"""Who is asking: bearer tokens into principals."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import jwt

from workstation.api import keys
from workstation.api.keys import KeySet
from workstation.api.revocations import Revocations
from workstation.domain.errors import Unauthenticated
from workstation.domain.principal import Principal, Role
from workstation.services import signing
from workstation.services.signing import SigningKey

MAX_TOKEN_BYTES: Final = 4096
MAX_CACHED: Final = 4096
_MAX_ID: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class _Verified:
    principal: Principal
    expires_at: float


class Authenticator:
    """Checks the Authorization header.

    A token once verified is remembered; its expiry and revocation are asked each time.
    """

    def __init__(
        self,
        key: SigningKey,
        revocations: Revocations,
        wall: Callable[[], float],
        key_set: KeySet | None = None,
    ) -> None:
        self._key = key
        self._revocations = revocations
        self._wall = wall
        self._key_set = key_set
        self._cache: dict[bytes, _Verified] = {}

    def known(self, header: bytes | None) -> Principal | None:
        """The principal of a header that was verified before, or None. Raises Unauthenticated when it is over."""
        if header is None:
            return None
        verified = self._cache.get(header)
        if verified is None:
            return None
        return self._still_good(verified)

    async def authenticate(self, header: bytes | None) -> Principal:
        """The principal of an Authorization header. Raises Unauthenticated, or Unavailable without keys."""
        principal = self.known(header)
        if principal is not None:
            return principal
        if not header:
            raise Unauthenticated("No token was given; send Authorization: Bearer <token>.")
        verified = await self._verify(_token(header))
        principal = self._still_good(verified)
        if len(self._cache) >= MAX_CACHED:
            del self._cache[next(iter(self._cache))]
        self._cache[header] = verified
        return principal

    def _still_good(self, verified: _Verified) -> Principal:
        if verified.expires_at <= self._wall():
            raise Unauthenticated("The token has expired; get a new one.")
        if verified.principal.token_id in self._revocations.revoked:
            raise Unauthenticated("The token was revoked; get a new one.")
        return verified.principal

    async def _verify(self, token: str) -> _Verified:
        try:
            header = jwt.get_unverified_header(token)
            algorithm = header.get("alg")
            if algorithm == signing.ALGORITHM:
                claims = keys.check_own(self._key, token)
            elif self._key_set is not None and isinstance(header.get("kid"), str):
                claims = await self._key_set.check(token, header["kid"], str(algorithm))
            else:
                raise jwt.InvalidAlgorithmError("No key is for this algorithm")
            expires_at = float(claims["exp"])
        except (jwt.InvalidTokenError, ValueError, TypeError, OverflowError, RecursionError) as error:
            raise _refusal(error) from error
        return _Verified(_principal(claims), expires_at)


def _token(header: bytes) -> str:
    scheme, _, token = header.partition(b" ")
    if scheme.lower() != b"bearer" or not token.strip():
        raise Unauthenticated("The Authorization header must be: Bearer <token>.")
    if len(token) > MAX_TOKEN_BYTES:
        raise Unauthenticated(f"The token is longer than {MAX_TOKEN_BYTES} bytes; it is not one of ours.")
    try:
        return token.strip().decode("ascii")
    except UnicodeDecodeError as error:
        raise Unauthenticated("The token is not a JSON Web Token; get a new one.") from error


def _refusal(error: Exception) -> Unauthenticated:
    if isinstance(error, jwt.ExpiredSignatureError):
        return Unauthenticated("The token has expired; get a new one.")
    return Unauthenticated("The token is not valid here; get a new one.")


def _principal(claims: Mapping[str, Any]) -> Principal:
    subject, role, token_id = claims.get("sub"), claims.get("role"), claims.get("jti")
    if not isinstance(subject, str) or not 0 < len(subject) <= 255 or "\0" in subject:
        raise Unauthenticated("The token names no subject; get a new one.")
    if not isinstance(role, str) or role not in set(Role):
        raise Unauthenticated("The token names no role that exists here; get a new one.")
    if token_id is not None and not isinstance(token_id, str):
        raise Unauthenticated("The token has no id; get a new one.")
    agent_id = _agent_id(claims.get("agent")) if role == Role.AGENT else None
    if role != Role.AGENT and subject.startswith("agent:"):
        raise Unauthenticated("The token's subject is kept for agents; get a new one.")
    return Principal(subject, Role(role), agent_id, token_id)


def _agent_id(claim: object) -> int:
    if isinstance(claim, str) and claim.isascii() and claim.isdigit() and len(claim) <= 19:
        number = int(claim)
        if number <= _MAX_ID:
            return number
    raise Unauthenticated("The token is for an agent and does not say for which; get a new one.")
