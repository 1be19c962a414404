"""What must hold of every committed file."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support.documents import ROOT, pages, text_of, tracked_files

# Put together from parts, so that this file does not name one either.
HOSTS = [
    "".join(parts)
    for parts in (
        ("py", "pi.", "org"),
        ("python", "hosted.", "org"),
        ("registry.", "npmjs"),
        ("npmjs.", "org"),
        ("deb.", "debian"),
        ("archive.", "ubuntu"),
        ("regis", "try.yarn"),
        ("proxy.", "golang"),
    )
]
BINARY = {".png", ".jpg", ".woff2", ".ico", ".pdf"}


def texts() -> list[tuple[Path, str]]:
    """Every text file with its content."""
    return [(path, text_of(path)) for path in tracked_files() if path.suffix not in BINARY]


def test_no_file_names_a_download_host() -> None:
    assert [(str(path), host) for path, text in texts() for host in HOSTS if host in text] == []


def test_every_requirement_is_pinned_with_its_hash() -> None:
    for path in tracked_files():
        if path.suffix == ".txt" and path.name.startswith(("runtime", "dev", "requirements")):
            entries = re.split(r"\n(?=\S)", text_of(path).strip())
            loose = [entry.split()[0] for entry in entries if "==" not in entry or "--hash=sha256:" not in entry]
            assert entries and loose == [], f"{path}: run scripts/lock"


def test_every_link_between_documents_leads_somewhere() -> None:
    broken = []
    for page in pages():
        for target in re.findall(r"\]\(([^)\s]+)\)", text_of(page)):
            path, _, anchor = target.partition("#")
            if re.match(r"[a-z]+:", target):
                continue
            there = (ROOT / page).parent / path if path else ROOT / page
            if not there.exists() or (anchor and anchor not in anchors(there)):
                broken.append(f"{page}: {target}")
    assert broken == []


def anchors(page: Path) -> set[str]:
    """The anchors that headings of a page make."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_licence_is_the_same_in_every_distribution() -> None:
    assert text_of("LICENSE") == text_of("sdk/LICENSE")
