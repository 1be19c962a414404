"""docs/errors.md is the API's one table of codes."""

from __future__ import annotations

from tests.support.documents import table_rows, text_of

from workstation.api.errors import STATUS_OF
from workstation.cli.exits import EXIT_CODES
from workstation.domain.errors import Refusal
from workstation_sdk.client import asking


def test_every_code_has_a_line_with_its_status() -> None:
    documented = {row[0].strip("`"): int(row[1]) for row in table_rows(text_of("docs/errors.md"), "code")}
    assert documented == dict(STATUS_OF)


def test_every_refusal_of_the_domain_has_a_status() -> None:
    kinds = [kind for kind in every_kind_of(Refusal) if kind.__module__ == Refusal.__module__]
    codes = {kind.code for kind in kinds}
    assert codes - set(STATUS_OF) == set()


def test_the_exit_codes_of_the_command_line_are_listed() -> None:
    listed = {int(row[0]): row[1] for row in table_rows(text_of("docs/errors.md"), "exit code")}
    assert listed == EXIT_CODES


def test_the_errors_a_client_raises_are_listed() -> None:
    listed = {
        int(status): row[1].strip("`")
        for row in table_rows(text_of("docs/sdk.md"), "status")
        for status in row[0].split(",")
    }
    assert listed == {status: kind.__name__ for status, kind in asking._KINDS.items()}


def every_kind_of(kind: type[Refusal]) -> list[type[Refusal]]:
    """Every class below one."""
    return [below for child in kind.__subclasses__() for below in (child, *every_kind_of(child))]
