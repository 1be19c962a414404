"""A server that answers as a test tells it, over a real socket, and remembers what it was asked."""

import json
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True)
class Asked:
    """One request as it came."""

    method: str
    path: str
    query: Mapping[str, str]
    body: Any
    headers: Mapping[str, str]


Answer = tuple[int, Any]


@dataclass
class ScriptedServer:
    """Answers by "METHOD path"; an answer is (status, body), a function of the request, or a list used up in turn.

    The last one of a list stays.
    """

    url: str = ""
    answers: dict[str, Any] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)

    def on(self, call: str, *answers: Answer | Callable[[Asked], Answer]) -> None:
        """Answer "GET /api/agents" so, the last answer for ever."""
        self.answers[call] = list(answers)

    def data(self, call: str, *data: Any) -> None:
        """Answer 200 with each data in turn."""
        self.on(call, *[(200, {"success": True, "data": one}) for one in data])

    def refuse(self, call: str, status: int, error: str, code: str = "refused", **more: Any) -> None:
        """Answer with a failure."""
        self.on(call, (status, {"success": False, "error": error, "code": code, **more}))

    def bodies(self, call: str) -> list[Any]:
        """The bodies of all requests of a kind."""
        method, path = call.split(" ")
        return [asked.body for asked in self.asked if (asked.method, asked.path) == (method, path)]

    def queries(self, call: str) -> list[Mapping[str, str]]:
        """The queries of all requests of a kind."""
        method, path = call.split(" ")
        return [asked.query for asked in self.asked if (asked.method, asked.path) == (method, path)]

    def answer(self, asked: Asked) -> Answer:
        """What a request gets."""
        self.asked.append(asked)
        scripted = self.answers.get(f"{asked.method} {asked.path}")
        if scripted is None:
            return 404, {"success": False, "error": f"Nothing is scripted for {asked.path}.", "code": "not_found"}
        found = scripted.pop(0) if len(scripted) > 1 else scripted[0]
        return found(asked) if callable(found) else found


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client may go away at any time; anything else is a mistake of the test's."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def scripted_server() -> Iterator[ScriptedServer]:
    """A running ScriptedServer."""
    script = ScriptedServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            parts = urlsplit(self.path)
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            asked = Asked(
                self.command,
                parts.path,
                dict(parse_qsl(parts.query)),
                json.loads(content) if content else None,
                {name.lower(): value for name, value in self.headers.items()},
            )
            status, answer = script.answer(asked)
            body = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/plain" if isinstance(answer, str) else "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_DELETE = do_PATCH = _serve

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = _Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    script.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield script
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
