"""The example shop, served where agents may reach it, and a private service where they may not."""

import functools
from collections.abc import Iterator

import pytest
from tests.support.websites import SHOP, Secret, SecretHandler, ShopHandler, serving


@pytest.fixture(scope="session")
def shop() -> Iterator[str]:
    """The address of the shop; agents may reach it."""
    with (
        serving(functools.partial(ShopHandler, directory=str(SHOP))) as port,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("WORKSTATION_FETCH_ALLOW", f"127.0.0.1:{port}")
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def secret(shop: str) -> Iterator[Secret]:
    """A private service that agents may not reach."""
    visits: list[str] = []
    with serving(type("Handler", (SecretHandler,), {"visits": visits})) as port:
        yield Secret(port, visits)
