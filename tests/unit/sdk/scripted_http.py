"""A real HTTP server on a local port that answers what it is told and remembers what it was asked."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Asked:
    """One request."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


@dataclass
class Reply:
    """One answer; `drop` closes the connection instead."""

    data: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    drop: bool = False


class ScriptedServer:
    """Answers with the scripted replies in turn, and with the last one from then on."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.asked: list[Asked] = []
        self.replies: list[Reply] = []

    def says(self, *replies: Reply) -> None:
        """Script the next replies."""
        self.replies = list(replies)

    def next_reply(self) -> Reply:
        """Take the next reply."""
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]

    @property
    def paths(self) -> list[str]:
        """Method and path of every request."""
        return [f"{asked.method} {asked.path}" for asked in self.asked]


@contextmanager
def scripted_server() -> Iterator[ScriptedServer]:
    """Run a scripted server in a thread."""
    holder: list[ScriptedServer] = []
    http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(lambda: holder[0]))
    http.daemon_threads = True
    holder.append(ScriptedServer(http.server_address[1]))
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield holder[0]
    finally:
        http.shutdown()
        thread.join()
        http.server_close()


def _handler(server: Callable[[], ScriptedServer]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            server().asked.append(Asked(self.command, self.path, headers, json.loads(content) if content else None))
            reply = server().next_reply()
            if reply.drop:
                self.close_connection = True
                return
            body = reply.data if isinstance(reply.data, bytes) else json.dumps(reply.data).encode()
            self.send_response(reply.status)
            for name, value in {"Content-Length": str(len(body)), **reply.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PATCH = do_DELETE = answer

        def log_message(self, format: str, *args: Any) -> None:
            """Tests look at `asked` instead."""

    return Handler
