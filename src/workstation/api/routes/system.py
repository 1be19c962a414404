"""What is open to everybody: whether the server lives, whether it is ready, and the documents of this API."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from typing import Final

import msgspec

from workstation.api.call import Call, Reply
from workstation.api.errors import Headers
from workstation.api.openapi import document
from workstation.api.routing import Route
from workstation.api.rules import OPEN, OPERATE
from workstation.api.schemas.common import Data
from workstation.api.schemas.system import Alive, Examination, FindingItem, Ready
from workstation.domain.errors import Unavailable

_CSP: Final = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_PAGE_HEADERS: Final[Headers] = [
    (b"content-security-policy", _CSP),
    (b"referrer-policy", b"no-referrer"),
]


async def health(call: Call) -> Reply:
    """The process answers: that is all this says."""
    return Reply(Data(data=Alive("alive")))


async def ready(call: Call) -> Reply:
    """200 once everything needed for work is there; 503 with what is missing until then."""
    missing = await call.using.missing()
    if missing:
        raise Unavailable("Not ready yet: " + "; ".join(missing) + ".")
    return Reply(Data(data=Ready("ready")))


async def examination(call: Call) -> Reply:
    """What silently hurts the queue, in the database and in this replica. For operators; takes up to some seconds."""
    examined = await call.using.examine()
    items = [FindingItem(found.level, found.subject, found.message) for found in examined.findings]
    return Reply(Data(data=Examination(items, examined.database_time)))


async def docs(call: Call) -> Reply:
    """The page that shows the OpenAPI document."""
    return Reply(_static("docs.html"), headers=_PAGE_HEADERS, media_type=b"text/html; charset=utf-8")


async def docs_style(call: Call) -> Reply:
    """The style of the page."""
    return Reply(_static("docs.css"), media_type=b"text/css; charset=utf-8")


async def docs_script(call: Call) -> Reply:
    """The script of the page."""
    return Reply(_static("docs.js"), media_type=b"text/javascript; charset=utf-8")


@cache
def _static(name: str) -> bytes:
    return files("workstation.api").joinpath("static", name).read_bytes()


ROUTES: Final = (
    Route("GET", "/health", health, OPEN, "Is the process alive?", "system", {200: Data[Alive]}),
    Route(
        "GET",
        "/ready",
        ready,
        OPEN,
        "Does the server take work?",
        "system",
        {200: Data[Ready]},
        errors=("unavailable",),
    ),
    Route(
        "GET",
        "/api/system/examination",
        examination,
        OPERATE,
        "What silently hurts the queue?",
        "system",
        {200: Data[Examination]},
    ),
    Route("GET", "/docs", docs, OPEN, "This document, readable", "system", {200: "text/html"}),
    Route("GET", "/docs/docs.css", docs_style, OPEN, "Style of the page", "system", {200: "text/css"}),
    Route("GET", "/docs/docs.js", docs_script, OPEN, "Script of the page", "system", {200: "text/javascript"}),
)


def openapi_route(others: Sequence[Route]) -> Route:
    """The route of the OpenAPI document of these routes and itself."""

    async def openapi(call: Call) -> Reply:
        """The OpenAPI document of this server."""
        return Reply(body)

    answers = {200: "application/json"}
    route = Route("GET", "/openapi.json", openapi, OPEN, "The OpenAPI document", "system", answers)
    body = msgspec.json.encode(document((*others, route), version("workstation")))
    return route
