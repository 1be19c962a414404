"""Fail points: what the setting may say, and that every write has its name."""

from __future__ import annotations

import ast

import pytest
from tests.support.documents import code_words, table_rows, text_of, tracked_files, tree_of

from workstation.server.settings import Settings, SettingsError
from workstation.store.fail_points import SIDES, WRITES, FailPoint

NAME = "WORKSTATION_FAIL_POINTS"


def read(text: str) -> tuple[FailPoint, ...]:
    """What the server makes of the variable."""
    return Settings.from_environment({NAME: text}).fail_points


def test_without_the_variable_there_are_none() -> None:
    assert Settings.from_environment({}).fail_points == () == read("")


def test_points_are_read_with_their_actions_and_passes() -> None:
    assert read("submit.after_commit=kill@3; claim.before_commit=pause:0.5@10%;reap.after_commit=cut") == (
        FailPoint("submit", "after_commit", "kill", on_pass=3),
        FailPoint("claim", "before_commit", "pause", seconds=0.5, chance=0.1),
        FailPoint("reap", "after_commit", "cut"),
    )


@pytest.mark.parametrize(
    ("text", "wrong", "known"),
    [
        ("sumbit.after_commit=kill", "sumbit.after_commit", ["submit", "claim", "before_commit"]),
        ("submit.afterwards=kill", "submit.afterwards", ["after_commit"]),
        ("submit=kill", "submit", ["after_commit"]),
        ("submit.after_commit", "''", ["kill", "cut", "pause:SECONDS"]),
        ("submit.after_commit=explode", "explode", ["kill", "cut", "pause:SECONDS", "@N", "@P%"]),
        ("submit.after_commit=pause", "pause", ["pause:SECONDS"]),
        ("submit.after_commit=kill@0", "kill@0", ["@N"]),
        ("submit.after_commit=kill@x%", "kill@x%", ["@P%"]),
    ],
)
def test_what_is_not_known_is_refused_with_what_is(text: str, wrong: str, known: list[str]) -> None:
    with pytest.raises(SettingsError) as refused:
        read(text)
    sentence = str(refused.value)
    assert sentence.startswith(NAME) and wrong in sentence and sentence.count("\n") == 0
    assert all(word in sentence for word in known)


def test_every_write_is_named_and_every_name_is_of_a_write() -> None:
    """Transactions and kept connections say what they are for; the reads among the kept have no points."""
    used: set[str] = set()
    for path in tracked_files():
        if path.suffix == ".py" and path.parts[:2] == ("src", "workstation"):
            for call in _database_calls(tree_of(path)):
                names = [word.value for word in call.args if isinstance(word, ast.Constant)]
                assert names or _name_of(call) == "session", f"{path}:{call.lineno}: name what it writes"
                used.update(str(name) for name in names)
    assert used - {"read"} == set(WRITES)


def _database_calls(tree: ast.Module) -> list[ast.Call]:
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and _name_of(node) in ("hot", "session", "transaction")
        and isinstance(node.func, ast.Attribute)
        and "database" in ast.unparse(node.func.value)
    ]


def _name_of(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else ""


def test_the_documented_writes_and_sides_are_the_real_ones() -> None:
    rows = {row[0]: row[1] for row in table_rows(text_of("docs/configuration.md"), "part")}
    assert code_words(rows["write"]) == list(WRITES)
    assert set(code_words(rows["side"])) == set(SIDES)
