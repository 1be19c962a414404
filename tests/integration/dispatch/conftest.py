"""One replica's dispatch for each test."""

from collections.abc import AsyncIterator

import pytest
from tests.support.floor import House, open_house
from tests.support.spine import Spine


@pytest.fixture
async def house(spine: Spine) -> AsyncIterator[House]:
    """Dispatch with its claimer running, over an empty database."""
    async with open_house(spine) as house:
        yield house
