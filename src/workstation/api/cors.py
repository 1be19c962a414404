"""Which web pages of other origins may read our answers. A refused origin is told nothing, and is no error."""

from __future__ import annotations

from typing import Final

from workstation.api.errors import Headers

_METHODS: Final = (b"access-control-allow-methods", b"GET, HEAD, POST, PATCH, DELETE")
_ALLOW_HEADERS: Final = (
    b"access-control-allow-headers",
    b"Authorization, Content-Type, Idempotency-Key, X-Request-Id",
)
_EXPOSE: Final = (
    b"access-control-expose-headers",
    b"X-Request-Id, Retry-After, Idempotent-Replayed, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset",
)
_MAX_AGE: Final = (b"access-control-max-age", b"600")
_VARY: Final = (b"vary", b"Origin")


class Cors:
    """The origins that may read our answers. Tokens travel in a header, so no credentials are allowed along."""

    def __init__(self, allowed_origins: tuple[str, ...]) -> None:
        self._any = "*" in allowed_origins
        self._allowed = frozenset(origin.rstrip("/").encode() for origin in allowed_origins)

    def add(self, origin: bytes | None, headers: Headers) -> None:
        """Add to an answer what lets its page read it."""
        if not self._allowed:
            return
        headers.append(_VARY)
        if origin is not None and self._allows(origin):
            headers.append((b"access-control-allow-origin", origin))
            headers.append(_EXPOSE)

    def preflight(self, origin: bytes | None) -> Headers:
        """What a browser is told besides that asks before it sends."""
        if origin is None or not self._allows(origin):
            return []
        return [_METHODS, _ALLOW_HEADERS, _MAX_AGE]

    def _allows(self, origin: bytes) -> bool:
        return self._any or origin in self._allowed
