"""Tables for people."""

from workstation.cli.tables import cells, cut, field, printable, table

COLUMNS = (field("ID", "id"), field("NAME", "name"), field("WORDS", "words", elastic=True))


def test_columns_are_as_wide_as_what_is_in_them() -> None:
    lines = table([{"id": "1", "name": "a", "words": "x"}, {"id": "22", "name": "bcd", "words": "y"}], COLUMNS, 80)
    assert [_plain(line) for line in lines] == ["ID  NAME  WORDS", "1   a     x", "22  bcd   y"]


def test_a_long_elastic_column_gives_way_so_that_lines_fit() -> None:
    lines = table([{"id": "1", "name": "n" * 30, "words": "word " * 40}], COLUMNS, 80)
    assert max(cells(_plain(line)) for line in lines) == 80
    assert _plain(lines[1]).endswith("…")


def test_a_name_is_never_cut() -> None:
    (_, line) = table([{"id": "1", "name": "n" * 100, "words": "w"}], COLUMNS, 80)
    assert "n" * 100 in line


def test_wide_letters_count_double() -> None:
    assert cells("日本") == 4
    assert cut("日本語テキスト", 7) == "日本語…"


def test_control_characters_cannot_reach_the_terminal() -> None:
    assert printable("a\x1b[2J\u202eb\nc\x07") == "a[2Jb c"


def _plain(line: str) -> str:
    import click

    return click.unstyle(line)
