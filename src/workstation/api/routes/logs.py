"""What agents write: the last lines, or a stream of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from workstation.api import ids
from workstation.api.call import Call, Reply, Stream
from workstation.api.routing import Route
from workstation.api.rules import READ_LOGS
from workstation.api.schemas.common import Data
from workstation.services import agents


class LogsQuery(msgspec.Struct, frozen=True, kw_only=True):
    """How much of it."""

    lines: Annotated[int, Meta(ge=1, le=10_000, description="The last so many")] = 100
    follow: Annotated[bool, Meta(description="Then every new line as it comes, as plain text")] = False


class LogLines(msgspec.Struct, frozen=True):
    """Lines, oldest first."""

    lines: list[str]


async def read_logs(call: Call) -> Reply | Stream:
    """The last lines an agent that we started has written; `?follow=1` streams plain text until you go."""
    query: LogsQuery = call.query
    agent_id = ids.number(call.params[0], "id")
    await agents.get_agent(call.using.database, agent_id)
    if query.follow:
        return Stream(_text(call.using.logs.follow(agent_id, query.lines)))
    return Reply(Data(data=LogLines(await call.using.logs.tail(agent_id, query.lines))))


async def _text(lines: AsyncIterator[str]) -> AsyncIterator[bytes]:
    async for line in lines:
        yield line.encode("utf-8", "replace") + b"\n"


ROUTES: Final = (
    Route(
        "GET",
        "/api/agents/:id/logs",
        read_logs,
        READ_LOGS,
        "Read an agent's output",
        "agents",
        {200: Data[LogLines]},
        ("not_found", "runtime_failed"),
        query=LogsQuery,
    ),
)
