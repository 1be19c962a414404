"""Tokens as attackers would make them: nothing here goes through the library that checks them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from typing import Any


def b64(data: bytes) -> str:
    """Unpadded base64url."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def claims(**changed: Any) -> dict[str, Any]:
    """The claims of a good admin token, changed; None takes a claim away."""
    now = int(time.time())
    good: dict[str, Any] = {
        "iss": "workstation",
        "aud": "workstation",
        "sub": "mallory",
        "role": "admin",
        "jti": "0f0b7a53-0f5e-4f4e-9a2e-5b8e6f4a0001",
        "iat": now,
        "exp": now + 600,
    }
    return {name: value for name, value in {**good, **changed}.items() if value is not None}


def token(secret: bytes, said: Mapping[str, Any], header: Mapping[str, Any] | None = None) -> str:
    """An HMAC-SHA256 token with this header, whatever the header says."""
    head = {"alg": "HS256", "typ": "JWT"} if header is None else header
    signed = f"{b64(json.dumps(head).encode())}.{b64(json.dumps(said).encode())}"
    return f"{signed}.{b64(hmac.new(secret, signed.encode(), hashlib.sha256).digest())}"


def unsigned(said: Mapping[str, Any], alg: str = "none") -> str:
    """A token without a signature."""
    return f"{b64(json.dumps({'alg': alg}).encode())}.{b64(json.dumps(said).encode())}."
