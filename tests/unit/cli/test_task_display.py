"""The live line of a followed task."""

from io import StringIO

import pytest
from rich.console import Console
from tests.unit.cli.samples import running, task

from workstation.cli.following import Look
from workstation.cli.task_display import Display, LiveLine, describe, display


def _drawn(look: Look, width: int) -> str:
    console = Console(file=StringIO(), force_terminal=True, width=width, no_color=True, highlight=False)
    line = LiveLine()
    line.show(look)
    with console.capture() as captured:
        console.print(line)
    return captured.get()


def test_the_live_line_has_a_clock_behind_the_words() -> None:
    text = _drawn(Look(running(58, "reading page"), ""), 80)
    assert "running, attempt 1/4  58%  reading page" in text
    assert "00:00" in text


def test_a_live_line_never_breaks() -> None:
    text = _drawn(Look(running(58, "word " * 50), ""), 60)
    assert text.count("\n") == 1
    assert "…" in text and "00:00" in text


def test_what_an_agent_says_cannot_steer_the_terminal() -> None:
    assert describe(Look(running(1, "a\x1b[2Jb"), "")) == "running, attempt 1/4  1%  a[2Jb"


def test_a_terminal_gets_the_live_line_and_a_pipe_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _chosen(monkeypatch, terminal=True) == "LiveLine"
    assert _chosen(monkeypatch, terminal=False) == "PlainLines"


def _chosen(monkeypatch: pytest.MonkeyPatch, *, terminal: bool) -> str:
    class Stream(StringIO):
        def isatty(self) -> bool:
            return terminal

    monkeypatch.setattr("sys.stderr", Stream())
    with display() as shown:
        used: Display = shown
        used.show(Look(task(status="pending"), ""))
    return type(used).__name__
