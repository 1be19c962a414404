"""Websites on loopback for agents to work on, and a private one they must not reach."""

import contextlib
import gzip
import http.server
import json
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

SHOP = Path(__file__).parents[2] / "examples" / "shop"


class ShopHandler(http.server.SimpleHTTPRequestHandler):
    """The example shop, and answers that only a test wants."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """Serve a page of the shop or a test answer."""
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        match url.path.split("/")[1:]:
            case ["redirect"]:
                self._send(302, b"", {"Location": query["to"]})
            case ["status", code]:
                self._send(int(code), b"<h1>An error</h1>", {"Content-Type": "text/html", "Retry-After": "7"})
            case ["page"]:
                self._send(200, query["html"].encode(), {"Content-Type": "text/html"})
            case ["bytes", size]:
                self._send(200, b"x" * int(size), {"Content-Type": "application/octet-stream"})
            case ["repeat", code, size]:
                self._send(200, bytes([int(code)]) * int(size), {"Content-Type": "text/plain"})
            case ["gzip"]:
                packed = gzip.compress(b"y" * 1_000_000)
                self._send(200, packed, {"Content-Type": "text/plain", "Content-Encoding": "gzip"})
            case ["latin1"]:
                body = '<meta charset="iso-8859-1"><h1>Crème</h1>'.encode("latin-1")
                self._send(200, body, {"Content-Type": "text/html"})
            case ["slow"]:
                time.sleep(float(query["seconds"]))
                self._send(200, b"late", {})
            case ["echo"]:
                self._echo()
            case _:
                super().do_GET()

    def do_POST(self) -> None:
        """Tell what was sent."""
        self._echo()

    def _echo(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
        told = {
            "method": self.command,
            "headers": {k.lower(): v for k, v in self.headers.items()},
            "body": body,
        }
        self._send(200, json.dumps(told).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.wfile.write(body)


class SecretHandler(http.server.BaseHTTPRequestHandler):
    """A private service; each visit is one that should not have happened."""

    visits: list[str]

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """Give the secret away."""
        self.visits.append(self.path)
        self.send_response(200)
        self.send_header("Access-Control-Allow-Origin", "*")
        self.end_headers()
        self.wfile.write(b"<h1>the secret</h1>")


@dataclass
class Secret:
    """Where the private service is, and who came."""

    port: int
    visits: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"


@contextlib.contextmanager
def serving(handler: Any, address: str = "127.0.0.1") -> Iterator[int]:
    """Serve `handler` on a free port, the yielded one."""
    server = http.server.ThreadingHTTPServer((address, 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def page_of(shop: str, html: str) -> str:
    """The address at which the shop answers with `html`."""
    return f"{shop}/page?{urlencode({'html': html})}"
