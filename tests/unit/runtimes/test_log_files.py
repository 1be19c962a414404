"""Reading log files from the end, following them, keeping them bounded."""

import asyncio
from pathlib import Path

import pytest

from workstation.runtimes.log_files import BLOCK, bound_log, follow, older, tail


def test_the_tail_is_the_last_lines_oldest_first(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("".join(f"{n}\n" for n in range(30_000)))
    assert log.stat().st_size > 2 * BLOCK
    assert tail(log, 3) == ["29997", "29998", "29999"]
    assert tail(log, 40_000) == [str(n) for n in range(30_000)]
    assert tail(log, 0) == []


def test_a_missing_log_has_no_lines(tmp_path: Path) -> None:
    assert tail(tmp_path / "none", 5) == []
    assert bound_log(tmp_path / "none", 5) is False


def test_a_log_over_its_bound_moves_aside_and_is_still_read(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("a\nb\n")
    assert bound_log(log, 4) is False
    assert bound_log(log, 3) is True
    log.write_text("c\n")
    assert older(log).read_text() == "a\nb\n" and tail(log, 2) == ["b", "c"]
    assert older(log).stat().st_mode & 0o777 == 0o600


async def test_following_goes_on_after_the_log_was_emptied(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("first\nsecond\n")
    over = asyncio.Event()
    seen: asyncio.Queue[str] = asyncio.Queue()

    async def read() -> None:
        async for line in follow(log, 1, over.is_set, interval=0.001):
            seen.put_nowait(line)

    reading = asyncio.create_task(read())
    async with asyncio.timeout(30):
        assert await seen.get() == "second"
        bound_log(log, 1)
        await asyncio.sleep(0.01)
        with log.open("a") as file:
            file.write("third\nunfini")
            file.flush()
            assert await seen.get() == "third"
            file.write("shed")
        over.set()
        await reading
    assert await seen.get() == "unfinished"


@pytest.mark.parametrize("bad", [b"\xff\xfe\n", b"\x00\n"])
def test_output_that_is_not_text_does_not_break_the_tail(tmp_path: Path, bad: bytes) -> None:
    log = tmp_path / "log"
    log.write_bytes(bad + b"fine\n")
    assert tail(log, 1) == ["fine"] and len(tail(log, 2)) == 2
