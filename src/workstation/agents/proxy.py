"""The forward proxy Chromium is made to use: it connects only to addresses the fetch policy has checked."""

import asyncio
import contextlib
from collections import OrderedDict
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import h11

from workstation.agents.fetch_policy import FetchPolicy, FetchRefused, NameNotResolved, split_url

REFUSED_HEADER = "x-workstation-refused"
CONNECT_TIMEOUT_SECONDS = 10.0
REQUEST_TIMEOUT_SECONDS = 120.0
CONNECTION_BYTES_LIMIT = 256 * 1024 * 1024
REMEMBERED_REFUSALS = 256
CHUNK = 65536
# RFC 9110, 7.6.1: these concern one connection and are not passed on.
HOP_BY_HOP = frozenset(
    {b"connection", b"proxy-connection", b"keep-alive", b"proxy-authorization", b"te", b"trailer", b"upgrade"}
)

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Unreachable(Exception):
    """The destination is permitted and does not answer."""


class FilteringProxy:
    """An HTTP proxy on a loopback port: CONNECT for https and sockets, absolute-form requests for http.

    Use as an async context manager; `url` is where it listens.
    """

    def __init__(self, policy: FetchPolicy) -> None:
        self._policy = policy
        self._server: asyncio.Server | None = None
        self._refusals: OrderedDict[tuple[str, int], str] = OrderedDict()
        self._connections: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """The proxy's own address, http://127.0.0.1:port."""
        assert self._server is not None, "the proxy is started by entering it"
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def refusal_of(self, url: str) -> str | None:
        """Why connections to the host of `url` were refused, or None; the newest 256 are remembered."""
        try:
            return self._refusals.get(split_url(url))
        except FetchRefused as refusal:
            return refusal.message

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._server.wait_closed()

    async def connect(self, host: str, port: int) -> Streams:
        """A connection to a checked address of `host`. Raises FetchRefused, NameNotResolved, Unreachable."""
        try:
            addresses = await self._policy.resolve(host, port)
        except FetchRefused as refusal:
            self._remember(host, port, refusal.message)
            raise
        for address in addresses:
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
                    return await asyncio.open_connection(address, port)
        raise Unreachable(f"{host}:{port} does not accept connections.")

    def _remember(self, host: str, port: int, message: str) -> None:
        self._refusals[(host.lower(), port)] = message
        if len(self._refusals) > REMEMBERED_REFUSALS:
            self._refusals.popitem(last=False)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await ProxyConnection(self, (reader, writer)).run()
        except (OSError, h11.ProtocolError, TimeoutError, asyncio.CancelledError):
            # The browser or the site went away, or the proxy closes: there is nobody left to tell.
            writer.transport.abort()
        finally:
            self._connections.discard(task)
            writer.close()


class ProxyConnection:
    """One connection of the browser: any number of plain requests, or one tunnel."""

    def __init__(self, proxy: FilteringProxy, streams: Streams) -> None:
        self._proxy = proxy
        self._reader, self._writer = streams
        self._browser = h11.Connection(h11.SERVER)

    async def run(self) -> None:
        """Answer requests until the connection ends."""
        while True:
            request = await _next_event(self._browser, self._reader)
            if not isinstance(request, h11.Request):
                return None
            try:
                if request.method == b"CONNECT":
                    return await self._tunnel(request)
                await self._forward(request)
            except FetchRefused as refusal:
                return await self._answer(403, refusal.message, refused=True)
            except (NameNotResolved, Unreachable) as failure:
                return await self._answer(502, str(failure))
            if self._browser.our_state is not h11.DONE or self._browser.their_state is not h11.DONE:
                return None
            self._browser.start_next_cycle()

    async def _tunnel(self, request: h11.Request) -> None:
        host, port = split_url(f"https://{request.target.decode('latin-1')}")
        site_reader, site_writer = await self._proxy.connect(host, port)
        try:
            await self._send(h11.Response(status_code=200, reason=b"Connection established", headers=[]))
            site_writer.write(self._browser.trailing_data[0])
            async with asyncio.TaskGroup() as pair:
                pair.create_task(_pour(self._reader, site_writer))
                pair.create_task(_pour(site_reader, self._writer))
        except* (OSError, EOFError):
            self._writer.transport.abort()
        finally:
            site_writer.close()

    async def _forward(self, request: h11.Request) -> None:
        url = request.target.decode("latin-1")
        if not url.startswith("http://"):
            raise FetchRefused(f"{url!r} is not an absolute http URL; this proxy passes on no other kind.")
        site_reader, site_writer = await self._proxy.connect(*split_url(url))
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_SECONDS):
                await self._exchange(_onward(request), site_reader, site_writer)
        finally:
            site_writer.close()

    async def _exchange(self, onward: h11.Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        site = h11.Connection(h11.CLIENT)
        event: h11.Event = onward
        while True:
            writer.write(site.send(event) or b"")
            await writer.drain()
            if isinstance(event, h11.EndOfMessage):
                break
            received = await _next_event(self._browser, self._reader)
            if not isinstance(received, h11.Data | h11.EndOfMessage):
                return
            event = received
        await self._return_response(site, reader)

    async def _return_response(self, site: h11.Connection, reader: asyncio.StreamReader) -> None:
        size = 0
        while True:
            event = await _next_event(site, reader)
            if isinstance(event, h11.InformationalResponse):
                continue
            if isinstance(event, h11.Response):
                headers = [(name, value) for name, value in event.headers if name not in HOP_BY_HOP]
                event = h11.Response(status_code=event.status_code, reason=event.reason, headers=headers)
            if isinstance(event, h11.Data):
                size += len(event.data)
                if size > CONNECTION_BYTES_LIMIT:
                    self._writer.transport.abort()
                    return
            if isinstance(event, h11.ConnectionClosed):
                return
            await self._send(event)
            if isinstance(event, h11.EndOfMessage):
                return

    async def _answer(self, status: int, message: str, *, refused: bool = False) -> None:
        body = message.encode()
        headers = [("content-type", "text/plain; charset=utf-8"), ("content-length", str(len(body)))]
        if refused:
            headers.append((REFUSED_HEADER, message.encode("ascii", "replace").decode("ascii")))
        await self._send(h11.Response(status_code=status, headers=[*headers, ("connection", "close")]))
        await self._send(h11.Data(data=body))
        await self._send(h11.EndOfMessage())

    async def _send(self, event: h11.Event) -> None:
        self._writer.write(self._browser.send(event) or b"")
        await self._writer.drain()


def _onward(request: h11.Request) -> h11.Request:
    """The request as the site gets it: origin form, one exchange a connection."""
    url = urlsplit(request.target)
    target = (url.path or b"/") + (b"?" + url.query if url.query else b"")
    headers = [(name, value) for name, value in request.headers if name not in HOP_BY_HOP]
    return h11.Request(method=request.method, target=target, headers=[*headers, (b"connection", b"close")])


async def _next_event(connection: h11.Connection, reader: asyncio.StreamReader) -> h11.Event:
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(CHUNK))
        elif isinstance(event, h11.Event):
            return event
        else:
            return h11.ConnectionClosed()


async def _pour(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Copy until `source` ends, then end `sink`; EOFError beyond the size limit."""
    size = 0
    while chunk := await source.read(CHUNK):
        size += len(chunk)
        if size > CONNECTION_BYTES_LIMIT:
            raise EOFError("more bytes than one connection may carry")
        sink.write(chunk)
        await sink.drain()
    if sink.can_write_eof():
        sink.write_eof()
