"""A running API for each test of the contract."""

from collections.abc import AsyncIterator

import pytest
from tests.support.api import Api, running_api


@pytest.fixture
async def api(database: str) -> AsyncIterator[Api]:
    """The API over a fresh database, without limits on how often it may be asked."""
    async with running_api(database) as api:
        yield api
