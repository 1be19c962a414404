"""Runs the marked commands of a document, in order, the way its reader would, against a server of their own.

Info words of a fenced block: `bash test` is run and must succeed; `exit=N` says that it must exit with N; `background`
leaves it running; `last` says that the server has ended afterwards. `python file=NAME` is saved as that file.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
from tests.support.documents import ROOT, Block, fenced_blocks, text_of
from tests.support.guardian import guarded_folder
from tests.support.live_server import PYTHONPATH, free_port

PROGRAM_FOLDER = Path(sys.executable).parent
DOCUMENTED_PORT, DOCUMENTED_SHOP_PORT = "3000", "8000"
READY_SECONDS, BLOCK_SECONDS, END_SECONDS = 60.0, 60.0, 30.0


class Reader:
    """Somebody who follows a document: a folder to work in, a server, what was left running."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._desk = folder / "desk"
        self._desk.mkdir()
        (self._desk / "examples").symlink_to(ROOT / "examples")
        self._port = str(free_port())
        self._shop_port = str(int(self._port) + 2_000)
        unwanted = ("WORKSTATION_", "DATABASE_", "JWT_", "PORT")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
        self._environment = {
            **kept,
            "PATH": os.pathsep.join((str(PROGRAM_FOLDER), os.environ["PATH"])),
            "PYTHONPATH": PYTHONPATH,
            "WORKSTATION_DATA_DIR": str(folder / "data"),
        }
        self._server: subprocess.Popen[bytes] | None = None
        self._output = folder / "output"

    def start_server(self) -> None:
        """`workstation up`, and wait until it is ready."""
        allowed = {"PORT": self._port, "WORKSTATION_FETCH_ALLOW": f"127.0.0.1:{self._shop_port}"}
        self._server = self._start(["workstation", "up"], {**self._environment, **allowed})
        deadline = time.monotonic() + READY_SECONDS
        while not self._is_ready():
            assert self._server.poll() is None and time.monotonic() < deadline, self._said()
            time.sleep(0.05)

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self._port}/ready", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def _start(self, command: Sequence[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
        with self._output.open("ab") as output:
            return subprocess.Popen(
                command,
                cwd=self._desk,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def _said(self) -> str:
        return self._output.read_text()[-3000:]

    def read(self, path: str) -> int:
        """Follow every marked block of a document; how many commands were run. Fails at the first that goes wrong."""
        blocks = list(fenced_blocks(text_of(path)))
        for block in blocks:
            self._follow(block)
        return sum(block.info[:2] == ("bash", "test") for block in blocks)

    def _follow(self, block: Block) -> None:
        """Do what a block says; fails with what the command printed."""
        saved_as = [word.partition("=")[2] for word in block.info if word.startswith("file=")]
        if saved_as:
            (self._desk / saved_as[0]).write_text(block.text)
        if block.info[:2] != ("bash", "test"):
            return
        script = self._with_ports(block.text)
        if "background" in block.info:
            self._start(["bash", "-euo", "pipefail", "-c", script], self._environment)
            time.sleep(0.5)
            return
        expected = next((int(word[5:]) for word in block.info if word.startswith("exit=")), 0)
        self._run(script, expected, block.line)
        if "last" in block.info:
            assert self._server is not None and self._server.wait(END_SECONDS) == 0, self._said()

    def _with_ports(self, text: str) -> str:
        shop = text.replace(f"127.0.0.1:{DOCUMENTED_SHOP_PORT}", f"127.0.0.1:{self._shop_port}")
        shop = shop.replace(f"--bind 127.0.0.1 {DOCUMENTED_SHOP_PORT}", f"--bind 127.0.0.1 {self._shop_port}")
        return shop.replace(f"127.0.0.1:{DOCUMENTED_PORT}", f"127.0.0.1:{self._port}")

    def _run(self, script: str, expected: int, line: int) -> None:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self._desk,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=BLOCK_SECONDS,
            check=False,
        )
        told = f"line {line}, exit code {done.returncode}:\n{script}\n{done.stdout}\n{done.stderr}\n{self._said()}"
        assert done.returncode == expected, told


@contextmanager
def reader() -> Iterator[Reader]:
    """A reader with a server that is ready; whatever they leave running is ended."""
    with guarded_folder() as folder:
        someone = Reader(folder)
        someone.start_server()
        yield someone
