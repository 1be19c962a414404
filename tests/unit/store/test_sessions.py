"""Behind a pooler the next transaction may meet another backend: no statement may leave anything in its session."""

import re
from importlib.resources import files

import pytest

# Locks, settings, tables and statements of a session; their kinds that end with the transaction are spelled otherwise.
OF_A_SESSION = (
    r"pg_(try_)?advisory_lock",
    r"set_config\([^()]*false\s*\)",
    r"^\s*set\s+(?!local\b)[a-z_.]+\s*(=|to)\s*[^,]*;",
    r"\bcreate\s+(local\s+|global\s+)?temp",
    r"^\s*(prepare|listen|declare\s+\w+\s+cursor\s+with\s+hold)\b",
)


@pytest.mark.parametrize("folder", ["sql", "migrations"])
def test_no_statement_keeps_anything_in_a_session(folder: str) -> None:
    paths = [path for path in files("workstation.store").joinpath(folder).iterdir() if path.name.endswith(".sql")]
    assert paths
    for path in paths:
        text = path.read_text(encoding="utf-8")
        for pattern in OF_A_SESSION:
            found = re.search(pattern, text, re.IGNORECASE | re.MULTILINE)
            assert found is None, f"{path.name}: {found and found.group()}"


@pytest.mark.parametrize(
    "statement",
    ["select pg_advisory_lock(1)", "set enable_seqscan = off;", "create temporary table t ()", "listen workstation"],
)
def test_what_would_be_kept_is_found(statement: str) -> None:
    assert any(re.search(pattern, statement, re.IGNORECASE | re.MULTILINE) for pattern in OF_A_SESSION)
