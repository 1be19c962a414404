"""Log files that programs append to by themselves: bounded, read from the end, followed."""

import asyncio
import os
import shutil
import threading
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

BLOCK = 64 * 1024
MAX_LINE = 64 * 1024

_bounding = threading.Lock()  # Two that move one file aside at once would lose it.


def open_log(path: Path) -> int:
    """Open `path` for appending (made 0600 where missing); return the descriptor, to be given to a child."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def bound_log(path: Path, max_bytes: int) -> bool:
    """Move the content of `path` to its `.1` once it exceeds `max_bytes`; return whether that was done.

    The writer keeps its open descriptor, which may outlive us, so the file is copied, then emptied in place:
    writers append, and go on at the new end. Lines written in between are lost.
    """
    with _bounding:
        if _size(path) <= max_bytes:
            return False
        partial = older(path).with_suffix(".partial")
        shutil.copyfile(path, partial)
        partial.chmod(0o600)
        partial.replace(older(path))
        os.truncate(path, 0)
    return True


def older(path: Path) -> Path:
    """Where the previous part of a log file is kept."""
    return path.with_name(path.name + ".1")


def tail(path: Path, lines: int) -> list[str]:
    """The last `lines` lines of a log file and its previous part, oldest first; empty where there is none."""
    found = _last_lines(path, lines)
    if len(found) < lines:
        found = _last_lines(older(path), lines - len(found)) + found
    return found


def _last_lines(path: Path, lines: int) -> list[str]:
    if lines <= 0 or not path.exists():
        return []
    with path.open("rb") as file:
        position = file.seek(0, os.SEEK_END)
        data = b""
        while position > 0 and data.count(b"\n") <= lines:
            size = min(BLOCK, position)
            position -= size
            file.seek(position)
            data = file.read(size) + data
    return [line.decode(errors="replace") for line in data.splitlines()[-lines:]]


async def follow(path: Path, lines: int, ended: Callable[[], bool], interval: float = 0.2) -> AsyncGenerator[str, None]:
    """Yield the last `lines` lines of `path`, then each new one, until `ended()` and all is read.

    `interval` is the pause between looks, in seconds. A file that was emptied is read from its start.
    """
    position = await asyncio.to_thread(_size, path)
    for line in await asyncio.to_thread(tail, path, lines):
        yield line
    rest = b""
    while True:
        last_look = ended()
        position, data = await asyncio.to_thread(_read_from, path, position)
        *whole, rest = (rest + data).split(b"\n")
        for raw in whole:
            yield raw.decode(errors="replace")
        if len(rest) > MAX_LINE or (last_look and rest and not data):
            yield rest.decode(errors="replace")
            rest = b""
        if last_look and not data:
            return
        if not data:
            await asyncio.sleep(interval)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _read_from(path: Path, position: int) -> tuple[int, bytes]:
    size = _size(path)
    start = position if position <= size else 0
    if size == start:
        return start, b""
    with path.open("rb") as file:
        file.seek(start)
        data = file.read(BLOCK)
    return start + len(data), data
