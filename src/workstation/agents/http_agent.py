"""http-agent: any HTTP request, and downloads with their checksum."""

import base64
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx
import msgspec

from workstation.agents.bounds import fit_text
from workstation.agents.fetch import (
    Fetched,
    build_request,
    fetch,
    guarded_client,
    open_response,
    refuse_error_status,
)
from workstation.agents.fetch_policy import FetchPolicy, parse_allow
from workstation.agents.settings import read_settings
from workstation_sdk import Agent, Context, TaskFailed

BODY_LIMIT = 256 * 1024
TEXT_BYTES = 550_000
DOWNLOAD_LIMIT = 256 * 1024 * 1024
INLINE_LIMIT = 600 * 1024
PROGRESS_EVERY_BYTES = 1024 * 1024
TEXT_TYPES = (
    "text/",
    "application/json",
    "application/xml",
    "application/javascript",
    "application/x-www-form",
)

agent = Agent("http-agent", capabilities=["request", "download"])


@agent.lifespan
@asynccontextmanager
async def resources(_: Agent) -> AsyncIterator[httpx.AsyncClient]:
    """One guarded client for all tasks."""
    async with guarded_client(FetchPolicy(parse_allow(read_settings().fetch_allow))) as client:
        yield client


@agent.task("request")
async def request(
    ctx: Context,
    url: str,
    method: str = "GET",
    headers: dict[str, str] | None = None,
    json: Any = None,
    body: str | None = None,
    timeout: int | None = None,
    follow_redirects: bool = True,
) -> dict[str, object]:
    """Send one HTTP request; `timeout` is in milliseconds and can only shorten the task's own.

    Returns {status, url, headers, body, body_encoding ("text" or "base64"), truncated, elapsed_ms} and
    `json` where the body is JSON; the body is cut at 256 KiB. A status of 400 and above is a result.
    Raises TaskFailed: FetchRefused, InvalidRequest and network failures.
    """
    if json is not None and body is not None:
        message = "A request has either json or body; leave one of them out."
        raise TaskFailed(message, type="InvalidRequest", retryable=False)
    client: httpx.AsyncClient = ctx.resources
    content: dict[str, object] = {"json": json} if json is not None else {"content": body}
    built = build_request(client, method, url, headers=headers, **content)
    limit = min(ctx.timeout, timedelta(milliseconds=timeout)) if timeout and timeout > 0 else ctx.timeout
    fetched = await fetch(client, built, limit=BODY_LIMIT, timeout=limit, follow_redirects=follow_redirects)
    return _answer(fetched)


@agent.task("download")
async def download(ctx: Context, url: str, max_bytes: int = DOWNLOAD_LIMIT) -> dict[str, object]:
    """Read a whole file: {url, status, size, sha256, content_type, filename, content_base64}.

    `content_base64` is null for files above 600 KiB: they are too large for a task's result, their size
    and checksum are still exact. Raises TaskFailed: TooLarge above `max_bytes` (256 MiB at most), HttpError,
    FetchRefused and network failures.
    """
    client: httpx.AsyncClient = ctx.resources
    limit = min(max_bytes, DOWNLOAD_LIMIT)
    async with open_response(client, build_request(client, "GET", url), timeout=ctx.timeout) as response:
        refuse_error_status(str(response.url), response.status_code, response.headers.get("retry-after"))
        size, digest, start = await _read_all(ctx, response, limit)
    return {
        "url": str(response.url),
        "status": response.status_code,
        "size": size,
        "sha256": digest,
        "content_type": response.headers.get("content-type"),
        "filename": unquote(urlsplit(str(response.url)).path.rpartition("/")[2]) or None,
        "content_base64": base64.b64encode(start).decode("ascii") if size <= INLINE_LIMIT else None,
    }


async def _read_all(ctx: Context, response: httpx.Response, limit: int) -> tuple[int, str, bytes]:
    """Size, SHA-256 and the first `INLINE_LIMIT` bytes of the decoded body."""
    expected = int(response.headers.get("content-length", "0") or 0)
    size, reported, digest, start = 0, 0, hashlib.sha256(), bytearray()
    async for chunk in response.aiter_bytes():
        size += len(chunk)
        if size > limit:
            message = f"{response.url} is larger than {limit} bytes; raise max_bytes or fetch it elsewhere."
            raise TaskFailed(message, type="TooLarge", retryable=False)
        digest.update(chunk)
        start += chunk[: max(0, INLINE_LIMIT - len(start))]
        if size - reported >= PROGRESS_EVERY_BYTES:
            reported = size
            await ctx.progress(min(99, size * 100 // expected) if expected else None, f"read {size} bytes")
    return size, digest.hexdigest(), bytes(start)


def _answer(fetched: Fetched) -> dict[str, object]:
    answer: dict[str, object] = {
        "status": fetched.status,
        "url": fetched.url,
        "headers": dict(fetched.headers),
        **_body(fetched),
        "elapsed_ms": fetched.elapsed_ms,
    }
    if fetched.content_type.endswith("json") and not fetched.truncated:
        answer.update(_parsed(fetched.body))
    return answer


def _parsed(body: bytes) -> dict[str, object]:
    if b"\\u0000" in body:
        return {"json_error": "The JSON holds a NUL, which a result cannot carry; see body."}
    try:
        return {"json": msgspec.json.decode(body)}
    except msgspec.DecodeError as error:
        return {"json_error": f"The body is called JSON but is not: {error}."}


def _body(fetched: Fetched) -> dict[str, object]:
    kind = fetched.content_type
    textual = not kind or kind.startswith(TEXT_TYPES) or kind.endswith(("+json", "+xml"))
    text = fetched.text() if textual else "\0"
    if "\0" in text:
        encoded = base64.b64encode(fetched.body).decode("ascii")
        return {"body": encoded, "body_encoding": "base64", "truncated": fetched.truncated}
    shown, cut = fit_text(text, TEXT_BYTES)
    return {"body": shown, "body_encoding": "text", "truncated": fetched.truncated or cut}
