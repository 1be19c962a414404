"""Taking steps: over httpx, in the calling thread or on an event loop."""

import re
import ssl
import time
from collections.abc import AsyncIterator, Generator, Iterator
from typing import Any, TypeVar

import httpx

from workstation_sdk.client.steps import Answer, Emit, Lines, Pause, Request, Steps, Stream
from workstation_sdk.environment import Server

Value = TypeVar("Value")
Item = TypeVar("Item")
_ERRNO = re.compile(r"^\[Errno -?\d+\] ")


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
            elif isinstance(step, Lines):
                answer = yield from self._read_lines(step)
            else:
                answer = self._take(step)

    def _read_lines(self, step: Lines) -> Generator[Any, None, Answer]:
        try:
            with self._http.stream(**_arguments(step.request, endless=True)) as response:
                if response.is_error:
                    response.read()
                    return _answer(response)
                yield from response.iter_lines()
                return Answer(response.status_code, response.headers, b"")
        except httpx.TransportError as error:
            return _silence(self._url, error)

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
            elif isinstance(step, Lines):
                ended: list[Answer] = []
                async for line in self._read_lines(step, ended):
                    yield line
                answer = ended[0]
            else:
                answer = await self._take(step)

    async def _read_lines(self, step: Lines, ended: list[Answer]) -> AsyncIterator[Any]:
        try:
            async with self._http.stream(**_arguments(step.request, endless=True)) as response:
                if response.is_error:
                    await response.aread()
                    ended.append(_answer(response))
                    return
                async for line in response.aiter_lines():
                    yield line
                ended.append(Answer(response.status_code, response.headers, b""))
        except httpx.TransportError as error:
            ended.append(_silence(self._url, error))

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def _take(self, step: Request | Pause) -> Answer | None:
        if isinstance(step, Pause):
            import asyncio  # Only those who run an event loop pay for it.

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
        "verify": _verify(server),
        "limits": httpx.Limits(max_connections=100, max_keepalive_connections=100),
    }


def _verify(server: Server) -> ssl.SSLContext | bool:
    # Plain HTTP on this machine shows no certificate, and reading the authorities' takes 40 ms.
    if server.is_local and server.base.startswith("http:"):
        return False
    # No proxy stands between here and this machine, but SSL_CERT_FILE counts all the same.
    return httpx.create_ssl_context(trust_env=True)


def _arguments(request: Request, *, endless: bool = False) -> dict[str, Any]:
    kind = {"Content-Type": "application/json"} if request.body is not None else {}
    return {
        "method": request.method,
        "url": request.path,
        "params": dict(request.query),
        "content": request.body,
        "headers": {**kind, **request.headers},
        "timeout": httpx.Timeout(None if endless else request.timeout, connect=5.0),
    }


def _answer(response: httpx.Response) -> Answer:
    return Answer(response.status_code, response.headers, response.content)


def _silence(url: str, error: httpx.TransportError) -> Answer:
    why = _ERRNO.sub("", str(error)) or type(error).__name__
    return Answer(0, {}, b"", failure=f"no server answers at {url} ({why}): is it up?")
