"""HTTP/1.1 as uvicorn speaks it, with a whole answer in one write: each write is a system call and wakes the client."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

if TYPE_CHECKING:
    from uvicorn._types import ASGISendEvent, HTTPResponseStartEvent


class HttpProtocol(HttpToolsProtocol):
    """One connection. What is not an ordinary request goes uvicorn's own way: other versions, upgrades, pipelines."""

    def on_headers_complete(self) -> None:
        """Begin to answer a request whose head is read."""
        parser, scope, before = self.parser, self.scope, self.cycle
        if (
            parser.should_upgrade()
            or parser.get_http_version() != "1.1"
            or (before is not None and not before.response_complete)
            or self.limit_concurrency is not None
            or self.root_path
        ):
            super().on_headers_complete()
            return
        url = httptools.parse_url(self.url)
        path = url.path.decode("ascii")
        scope["method"] = parser.get_method().decode("ascii")
        scope["path"] = unquote(path) if "%" in path else path
        scope["raw_path"] = url.path
        scope["query_string"] = url.query or b""
        self.cycle = OneWriteCycle(
            scope,
            self.transport,
            self.flow,
            self.logger,
            self.access_logger,
            self.access_log,
            self.server_state.default_headers,
            asyncio.Event(),
            self.expect_100_continue,
            parser.should_keep_alive(),
            self.on_response_complete,
        )
        self._start_asgi_task(self.cycle, self.app)


class OneWriteCycle(RequestResponseCycle):
    """One request and its answer. The head of an answer whose length is known waits for the body."""

    _head: HTTPResponseStartEvent | None = None

    async def send(self, message: ASGISendEvent) -> None:
        """Take one message of the answer."""
        head, self._head = self._head, None
        if message["type"] == "http.response.start" and not self.response_started and not self.access_log:
            # A head that is there already is of an answer that broke before its body: this one is in its place.
            if b"content-length" in dict(message.get("headers", ())):
                self._head = message
                return
        elif head is not None:
            if self._write(head, message):
                return
            await super().send(head)
        await super().send(message)

    def _write(self, head: HTTPResponseStartEvent, message: ASGISendEvent) -> bool:
        """Write a whole answer; False, with nothing written, where uvicorn has more to look at."""
        if (
            message["type"] != "http.response.body"
            or message.get("more_body", False)
            or not self.keep_alive
            or self.disconnected
            or self.flow.write_paused
            or self.scope["method"] == "HEAD"
        ):
            return False
        body = message["body"]
        headers = [*self.default_headers, *head["headers"]]
        fields = dict(headers)
        if fields[b"content-length"] != b"%d" % len(body) or b"connection" in fields:
            return False
        parts = [STATUS_LINE[head["status"]]]
        for name, value in headers:
            parts += (name, b": ", value, b"\r\n")
        parts.append(b"\r\n")
        block = b"".join(parts)
        if not block.count(b"\r") == block.count(b"\n") == len(headers) + 2:
            # A value that would split the answer.
            return False
        self.response_started = self.response_complete = True
        self.transport.write(block + body)
        self.message_event.set()
        self.on_response()
        return True
