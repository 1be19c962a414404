"""ARCHITECTURE.md says of the tree what the tree says of itself."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.support.documents import code_words, table_rows, text_of, tracked_files, tree_of, what_is_missing

PAGE = "ARCHITECTURE.md"


def described() -> dict[str, str]:
    """Folder to sentence, as the page has it."""
    return {row[0].strip("`"): row[1] for row in table_rows(text_of(PAGE), "folder")}


def test_every_room_is_described_by_its_own_sentence() -> None:
    own = {
        f"{path.parent}/": (ast.get_docstring(tree_of(path)) or "").splitlines()[0]
        for path in tracked_files()
        if path.name == "__init__.py"
    }
    assert described() == own


def test_every_folder_at_the_top_is_named() -> None:
    folders = {path.parts[0] for path in tracked_files() if len(path.parts) > 1}
    words = " ".join(code_words(text_of(PAGE)))
    assert [folder for folder in sorted(folders) if f"{folder}/" not in words] == []


def test_every_file_it_names_exists() -> None:
    rooms = ("", "src/workstation/", "src/workstation/api/", "docs/")
    missing = []
    for word in code_words(text_of(PAGE)):
        if "/" not in word or "<" in word or " " in word or "GET" in word:
            continue
        if all(what_is_missing(room + word) for room in rooms):
            missing.append(word)
    assert missing == []


def test_every_decision_is_listed_and_says_what_enforces_it() -> None:
    folder = Path("docs/decisions")
    listed = text_of(folder / "README.md")
    decisions = [path for path in tracked_files() if path.parent == folder and path.name != "README.md"]
    for path in decisions:
        assert f"({path.name})" in listed, f"{path} is not in the list"
        text = text_of(path)
        enforced = code_words(text.partition("**Enforced by.**")[2])
        references = [word for word in enforced if "/" in word and "<" not in word]
        assert enforced, f"{path} does not say what enforces it"
        assert [what_is_missing(word) for word in references if what_is_missing(word)] == [], path
