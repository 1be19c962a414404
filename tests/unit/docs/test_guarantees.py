"""Every promise in docs/guarantees.md names tests, and they exist."""

from __future__ import annotations

from tests.support.documents import code_words, table_rows, text_of, what_is_missing


def test_every_promise_names_tests_that_exist() -> None:
    rows = table_rows(text_of("docs/guarantees.md"), "promise")
    assert rows
    for promise, shown_by in rows:
        references = code_words(shown_by)
        assert references, f"no test shows: {promise}"
        assert all("::test_" in reference for reference in references), promise
        assert [reference for reference in references if what_is_missing(reference)] == [], promise
