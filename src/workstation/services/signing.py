"""Making tokens: JSON Web Tokens signed with the key of this installation."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final
from uuid import UUID

import jwt

from workstation.domain.principal import Role
from workstation.telemetry import clock

ALGORITHM: Final = "HS256"
ISSUER: Final = "workstation"
AUDIENCE: Final = "workstation"
MIN_SECRET_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Grant:
    """What a token says of its bearer. agent_id is set for role agent alone."""

    token_id: UUID
    subject: str
    role: Role
    issued_at: datetime
    expires_at: datetime
    agent_id: int | None = None


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A secret that signs and checks our own tokens. Raises ValueError when it is shorter than 32 bytes."""

    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.secret) < MIN_SECRET_BYTES:
            raise ValueError(
                f"The signing secret has {len(self.secret)} bytes and needs at least {MIN_SECRET_BYTES}; "
                "set JWT_SECRET to a longer one, or unset it to have one made."
            )

    @property
    def fingerprint(self) -> str:
        """Tells two keys apart without telling anything about them."""
        return sha256(b"workstation signing key\0" + self.secret).hexdigest()[:32]

    def sign(self, grant: Grant) -> str:
        """The token for a grant."""
        claims: dict[str, str | int] = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": grant.subject,
            "role": grant.role.value,
            "jti": str(grant.token_id),
            "iat": int(grant.issued_at.timestamp()),
            "exp": int(grant.expires_at.timestamp()),
        }
        if grant.agent_id is not None:
            claims["agent"] = str(grant.agent_id)
        return jwt.encode(claims, self.secret, algorithm=ALGORITHM)

    def accepts(self, token: str, *, for_at_least: timedelta) -> bool:
        """Whether this key signed a token that is good for that long from now. Revocation is not asked."""
        try:
            claims = jwt.decode(token, self.secret, algorithms=[ALGORITHM], issuer=ISSUER, audience=AUDIENCE)
        except jwt.InvalidTokenError:
            return False
        return float(claims["exp"]) > clock.wall() + for_at_least.total_seconds()
