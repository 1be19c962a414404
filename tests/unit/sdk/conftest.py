"""A fake server, and an agent to serve to it."""

from collections.abc import AsyncIterator

import pytest

from workstation_sdk import Agent
from workstation_sdk.testing import FakeServer


@pytest.fixture
async def server() -> AsyncIterator[FakeServer]:
    """A fake server that welcomes and settles."""
    async with FakeServer() as running:
        yield running


@pytest.fixture
def agent() -> Agent:
    """An agent without handlers."""
    return Agent("test-agent", capabilities=["test"])
