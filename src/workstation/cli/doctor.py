"""`workstation doctor`: everything that can be wrong, each with what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import click

from workstation.cli.checks import OK, PROBLEM, WARNING, Finding, fleet, machine
from workstation.cli.exits import FAILED
from workstation.cli.output import Output, output_option, print_lines
from workstation.cli.tables import printable

CHECKS: Final[tuple[Callable[[], Iterator[Finding]], ...]] = (
    machine.data_folder,
    machine.disk,
    machine.database,
    machine.browser,
    machine.sandbox,
    fleet.server,
)
_MARKS: Final = {OK: ("✓", "green"), WARNING: ("!", "yellow"), PROBLEM: ("✗", "red")}


@click.command()
@output_option
@click.pass_context
def doctor(ctx: click.Context, output: Output) -> None:
    """Check this machine, the server and its database. Exits with 1 for a problem (✗), not for warnings (!)."""
    bad = False
    findings = []
    for check in CHECKS:
        for finding in check():
            bad = bad or finding.level == PROBLEM
            findings.append(finding)
            if output.is_table:
                print_lines([_line(finding)])
    if not output.is_table:
        output.show_list([finding._asdict() for finding in findings], (), "")
    ctx.exit(FAILED if bad else 0)


def _line(finding: Finding) -> str:
    mark, colour = _MARKS[finding.level]
    return f"{click.style(mark, fg=colour)} {finding.subject:<16} {printable(finding.message)}"
