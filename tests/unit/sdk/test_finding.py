"""How an agent finds its number."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from workstation.domain.principal import Role
from workstation.services.signing import Grant, SigningKey
from workstation_sdk import Server
from workstation_sdk.finding import agent_of, find_agent


def token(role: Role, agent_id: int | None = None) -> str:
    """A token as the server makes them."""
    now = datetime.now(UTC)
    grant = Grant(uuid4(), "somebody", role, now, now + timedelta(hours=1), agent_id)
    return SigningKey(b"a secret for tests, 32 bytes long").sign(grant)


async def test_a_token_of_an_agent_says_its_number_without_asking_the_server() -> None:
    nobody = Server("http://127.0.0.1:9", token(Role.AGENT, 17))
    assert await find_agent("any name", nobody, offline=0) == "17"


@pytest.mark.parametrize("other", [token(Role.ADMIN), "", "a.b.c", "not a token", "a.e30.c", "a.W10.c"])
def test_any_other_token_says_nothing(other: str) -> None:
    assert agent_of(other) is None
