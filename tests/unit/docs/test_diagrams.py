"""The lifecycle diagrams are the tables of moves."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.documents import ROOT, text_of


def check(page: Path) -> subprocess.CompletedProcess[str]:
    """Run the script that draws, only to check."""
    return subprocess.run(
        [sys.executable, ROOT / "scripts" / "diagrams", "--check", page], capture_output=True, text=True, check=False
    )


def test_the_diagrams_show_the_tables_of_moves() -> None:
    checked = check(ROOT / "docs" / "concepts.md")
    assert checked.returncode == 0, checked.stderr


def test_a_diagram_that_lacks_a_move_is_found_out(tmp_path: Path) -> None:
    page = tmp_path / "concepts.md"
    page.write_text(text_of("docs/concepts.md").replace("    error --> starting: auto-restart\n", ""))
    assert "run scripts/diagrams" in check(page).stderr
