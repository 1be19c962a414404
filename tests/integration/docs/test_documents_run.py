"""What the documents tell a reader to type works. One reader follows them all; the last ends the server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.support.document_runs import Reader, reader


@pytest.fixture(scope="module")
def someone() -> Iterator[Reader]:
    """Who follows the documents."""
    with reader() as follower:
        yield follower


@pytest.mark.parametrize("page", ["README.md", "docs/tutorial-agent.md", "docs/quickstart.md"])
def test_the_commands_of_a_document_work(someone: Reader, page: str) -> None:
    assert someone.read(page) > 0
