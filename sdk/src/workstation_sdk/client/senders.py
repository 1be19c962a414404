"""Taking steps: over httpx, in the calling thread or on an event loop.

Where there are several servers, the one that answered last is asked first. A request goes on to the next where it could
not be sent, and the next request does where it had no answer or 503.
"""

import re
import ssl
import threading
import time
from collections.abc import AsyncIterator, Generator, Iterator
from dataclasses import replace
from http import HTTPStatus
from typing import Any, TypeVar

import httpx

from workstation_sdk.client.steps import ORDINARY_TIMEOUT, Answer, Emit, Lines, Pause, Request, Steps, Stream
from workstation_sdk.environment import Server

Value = TypeVar("Value")
Item = TypeVar("Item")
_ERRNO = re.compile(r"^\[Errno -?\d+\] ")
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout)
# Where others can be asked, a server that says nothing is not waited for as long as one that is alone.
_PATIENCE_OF_SEVERAL = 10.0


class Sender:
    """Takes steps in the calling thread."""

    def __init__(self, server: Server) -> None:
        self._turn = _Turn(server.addresses)
        self._clients: dict[int, httpx.Client] = {}
        self._making = threading.Lock()

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
        at = self._turn.at
        try:
            with self._client(at).stream(**_arguments(step.request, endless=True)) as response:
                if response.is_error:
                    response.read()
                    return self._turn.answer(at, response)
                yield from response.iter_lines()
                return Answer(response.status_code, response.headers, b"")
        except httpx.TransportError as error:
            return self._turn.silence(at, error)

    def close(self) -> None:
        """Close the connections."""
        for client in self._clients.values():
            client.close()

    def _take(self, step: Request | Pause) -> Answer | None:
        if isinstance(step, Pause):
            time.sleep(step.seconds)
            return None
        for _ in self._turn.servers:
            at = self._turn.at
            try:
                return self._turn.answer(at, self._client(at).request(**self._turn.arguments(step)))
            except httpx.TransportError as error:
                silence = self._turn.silence(at, error)
                if not isinstance(error, _NOT_SENT):
                    return silence
        return replace(silence, others=0)

    def _client(self, at: int) -> httpx.Client:
        with self._making:
            if at not in self._clients:
                server = self._turn.servers[at]
                transport = httpx.HTTPTransport(uds=server.socket_path) if server.socket_path else None
                self._clients[at] = httpx.Client(transport=transport, **_options(server))
            return self._clients[at]


class AsyncSender:
    """Takes steps on an event loop."""

    def __init__(self, server: Server) -> None:
        self._turn = _Turn(server.addresses)
        self._clients: dict[int, httpx.AsyncClient] = {}

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
        at = self._turn.at
        try:
            async with self._client(at).stream(**_arguments(step.request, endless=True)) as response:
                if response.is_error:
                    await response.aread()
                    ended.append(self._turn.answer(at, response))
                    return
                async for line in response.aiter_lines():
                    yield line
                ended.append(Answer(response.status_code, response.headers, b""))
        except httpx.TransportError as error:
            ended.append(self._turn.silence(at, error))

    async def close(self) -> None:
        """Close the connections."""
        for client in self._clients.values():
            await client.aclose()

    async def _take(self, step: Request | Pause) -> Answer | None:
        if isinstance(step, Pause):
            import asyncio  # Only those who run an event loop pay for it.

            await asyncio.sleep(step.seconds)
            return None
        for _ in self._turn.servers:
            at = self._turn.at
            try:
                return self._turn.answer(at, await self._client(at).request(**self._turn.arguments(step)))
            except httpx.TransportError as error:
                silence = self._turn.silence(at, error)
                if not isinstance(error, _NOT_SENT):
                    return silence
        return replace(silence, others=0)

    def _client(self, at: int) -> httpx.AsyncClient:
        if at not in self._clients:
            server = self._turn.servers[at]
            transport = httpx.AsyncHTTPTransport(uds=server.socket_path) if server.socket_path else None
            self._clients[at] = httpx.AsyncClient(transport=transport, **_options(server))
        return self._clients[at]


class _Turn:
    """Whose turn it is among several servers, and what an answer or silence means for that."""

    def __init__(self, servers: tuple[Server, ...]) -> None:
        self.servers = servers
        self.at = 0

    def answer(self, at: int, response: httpx.Response) -> Answer:
        """What a server said; one that cannot work at the moment is not asked next."""
        if response.status_code == HTTPStatus.SERVICE_UNAVAILABLE:
            self._move_on(at)
        others = len(self.servers) - 1
        return Answer(response.status_code, response.headers, response.content, others=others)

    def silence(self, at: int, error: httpx.TransportError) -> Answer:
        """A server said nothing: it is not asked next."""
        self._move_on(at)
        why = _ERRNO.sub("", str(error)) or type(error).__name__
        url = ",".join(server.url for server in self.servers)
        failure = f"no server answers at {url} ({why}): is it up?"
        return Answer(0, {}, b"", failure=failure, others=len(self.servers) - 1)

    def arguments(self, request: Request) -> dict[str, Any]:
        """How httpx is to be asked."""
        if len(self.servers) > 1 and request.repeatable and request.timeout == ORDINARY_TIMEOUT:
            request = replace(request, timeout=_PATIENCE_OF_SEVERAL)
        return _arguments(request)

    def _move_on(self, at: int) -> None:
        # Another thread may have done so already.
        if self.at == at:
            self.at = (at + 1) % len(self.servers)


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
