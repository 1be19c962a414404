"""docs/configuration.md lists every variable that is read, and nothing else."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from tests.support.documents import code_words, table_rows, text_of, tracked_files, tree_of

from workstation.runtimes.commands import INHERITED
from workstation.server.settings import PASSED_ON, Settings

PAGE = "docs/configuration.md"
SERVER = Path("src/workstation/server/settings.py")
SDK = Path("sdk/src/workstation_sdk/environment.py")
AGENTS = Path("src/workstation/agents/settings.py")
HOMES = {SERVER, SDK, AGENTS}
# Set for started agents in any language; nothing of ours reads it.
TOLD_ONLY = {"WORKSTATION_AGENT_NAME"}


def documented() -> dict[str, str]:
    """Variable to default, as the page has it."""
    return {row[0].strip("`"): row[1].strip("`") for row in table_rows(text_of(PAGE), "variable")}


def variables_in(path: Path) -> set[str]:
    """The names of environment variables that a module has as constants."""
    constants = {
        node.value for node in ast.walk(tree_of(path)) if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    return {word for word in constants if re.fullmatch(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)+|PORT", word)}


def test_every_variable_that_is_read_is_documented_and_none_else() -> None:
    read = set().union(*(variables_in(home) for home in HOMES))
    assert set(documented()) - TOLD_ONLY == read


def test_no_variable_of_ours_is_used_without_being_documented() -> None:
    used = set().union(*(variables_in(path) for path in tracked_files() if is_ours(path)))
    assert {name for name in used if name.startswith("WORKSTATION_")} - set(documented()) == set()


def test_the_environment_is_read_in_its_homes_alone() -> None:
    readers = {path for path in tracked_files() if is_ours(path) and reads_environment(path)}
    assert readers <= HOMES | composition()


def test_the_documented_defaults_are_the_real_ones() -> None:
    defaults = Settings.from_environment({})
    table = documented()
    assert table["PORT"] == str(defaults.port)
    assert table["MAX_CONCURRENT_TASKS"] == str(defaults.max_concurrent_tasks)
    assert table["WORKSTATION_POOL_SIZE"] == str(defaults.pool_size)
    assert Path(table["WORKSTATION_DATA_DIR"]).expanduser() == defaults.data_dir


def test_what_built_in_agents_read_is_passed_on_to_them() -> None:
    assert set(PASSED_ON) == variables_in(AGENTS)


def test_what_an_agent_inherits_is_listed() -> None:
    section = text_of(PAGE).partition("## What a started agent inherits")[2].partition("\n## ")[0]
    listed = [word for word in code_words(section) if re.fullmatch(r"[A-Za-z_]+", word)]
    assert listed == list(INHERITED)


def is_ours(path: Path) -> bool:
    """Whether a file is part of what ships."""
    return path.suffix == ".py" and path.parts[0] in ("src", "sdk")


def composition() -> set[Path]:
    """Where the program begins: the only place that may hand the whole environment to Settings."""
    return {path for path in tracked_files() if path.parts[:3] == ("src", "workstation", "cli")}


def reads_environment(path: Path) -> bool:
    """Whether a module mentions os.environ or os.getenv."""
    return any(
        isinstance(node, ast.Attribute)
        and node.attr in ("environ", "getenv")
        and isinstance(node.value, ast.Name)
        and node.value.id == "os"
        for node in ast.walk(tree_of(path))
    )
