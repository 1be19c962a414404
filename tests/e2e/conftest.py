"""One live server for each module, with the example shop beside it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from functools import partial

import pytest
from tests.support.guardian import guarded_folder
from tests.support.live_server import LiveServer
from tests.support.websites import SHOP, ShopHandler, serving


@pytest.fixture(scope="module")
def live() -> Iterator[LiveServer]:
    """A server whose agents may fetch from this machine."""
    with guarded_folder() as folder:
        server = LiveServer(folder, {"WORKSTATION_FETCH_ALLOW": "127.0.0.1"})
        asyncio.run(server.start())
        yield server


@pytest.fixture
async def server(live: LiveServer) -> AsyncIterator[LiveServer]:
    """The server; its clients are closed after the test."""
    yield live
    await live.close()


@pytest.fixture(scope="module")
def shop() -> Iterator[str]:
    """The address of the example shop."""
    with serving(partial(ShopHandler, directory=str(SHOP))) as port:
        yield f"http://127.0.0.1:{port}"
