"""Taking steps: over httpx, in the calling thread or on an event loop."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any, TypeVar

import httpx

from workstation_sdk.client.steps import Answer, Emit, Pause, Request, Steps, Stream
from workstation_sdk.environment import Server

Value = TypeVar("Value")
Item = TypeVar("Item")


class Sender:
    """Takes steps in the calling thread."""

    def __init__(self, server: Server) -> None:
        transport = httpx.HTTPTransport(uds=server.socket_path) if server.socket_path else None
        self._http = httpx.Client(transport=transport, **_options(server))
        self._url = server.url

    def finish(self, steps: Steps[Value]) -> Value:
        """Take all steps and return what they come to."""
        answer: Answer | None = None
        while True:
            try:
                step = steps.send(answer)
            except StopIteration as end:
                value: Value = end.value
                return value
            answer = self._take(step)

    def iterate(self, steps: Stream[Item]) -> Iterator[Item]:
        """Take the steps as they are asked for, and yield what they emit."""
        answer: Answer | None = None
        while True:
            try:
                step = steps.send(answer)
            except StopIteration:
                return
            if isinstance(step, Emit):
                yield step.item
                answer = None
            else:
                answer = self._take(step)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _take(self, step: Request | Pause) -> Answer | None:
        if isinstance(step, Pause):
            time.sleep(step.seconds)
            return None
        try:
            return _answer(self._http.request(**_arguments(step)))
        except httpx.TransportError as error:
            return _silence(self._url, error)


class AsyncSender:
    """Takes steps on an event loop."""

    def __init__(self, server: Server) -> None:
        transport = httpx.AsyncHTTPTransport(uds=server.socket_path) if server.socket_path else None
        self._http = httpx.AsyncClient(transport=transport, **_options(server))
        self._url = server.url

    async def finish(self, steps: Steps[Value]) -> Value:
        """Take all steps and return what they come to."""
        answer: Answer | None = None
        while True:
            try:
                step = steps.send(answer)
            except StopIteration as end:
                value: Value = end.value
                return value
            answer = await self._take(step)

    async def iterate(self, steps: Stream[Item]) -> AsyncIterator[Item]:
        """Take the steps as they are asked for, and yield what they emit."""
        answer: Answer | None = None
        while True:
            try:
                step = steps.send(answer)
            except StopIteration:
                return
            if isinstance(step, Emit):
                yield step.item
                answer = None
            else:
                answer = await self._take(step)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def _take(self, step: Request | Pause) -> Answer | None:
        if isinstance(step, Pause):
            await asyncio.sleep(step.seconds)
            return None
        try:
            return _answer(await self._http.request(**_arguments(step)))
        except httpx.TransportError as error:
            return _silence(self._url, error)


def _options(server: Server) -> dict[str, Any]:
    return {
        "base_url": server.base,
        "headers": {"Authorization": f"Bearer {server.token}"},
        "trust_env": not server.is_local,
        "limits": httpx.Limits(max_connections=100, max_keepalive_connections=100),
    }


def _arguments(request: Request) -> dict[str, Any]:
    kind = {"Content-Type": "application/json"} if request.body is not None else {}
    return {
        "method": request.method,
        "url": request.path,
        "params": dict(request.query),
        "content": request.body,
        "headers": {**kind, **request.headers},
        "timeout": httpx.Timeout(request.timeout, connect=5.0),
    }


def _answer(response: httpx.Response) -> Answer:
    return Answer(response.status_code, response.headers, response.content)


def _silence(url: str, error: httpx.TransportError) -> Answer:
    why = str(error) or type(error).__name__
    return Answer(0, {}, b"", failure=f"no server answers at {url} ({why}): is it up?")
