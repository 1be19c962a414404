"""`workstation doctor`: everything that can be wrong, each with what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import click

from workstation.cli.checks import BROKEN, GOOD, LOOK, Finding, fleet, machine
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
_MARKS: Final = {GOOD: ("✓", "green"), LOOK: ("!", "yellow"), BROKEN: ("✗", "red")}


@click.command()
@output_option
@click.pass_context
def doctor(ctx: click.Context, output: Output) -> None:
    """Check this machine and the server. Exits with 1 where something is broken (✗), not for warnings (!)."""
    broken = False
    findings = []
    for check in CHECKS:
        for finding in check():
            broken = broken or finding.state == BROKEN
            findings.append(finding)
            if output.is_table:
                print_lines([_line(finding)])
    if not output.is_table:
        output.show_list([finding._asdict() for finding in findings], (), "")
    ctx.exit(FAILED if broken else 0)


def _line(finding: Finding) -> str:
    mark, colour = _MARKS[finding.state]
    return f"{click.style(mark, fg=colour)} {finding.subject:<12} {printable(finding.message)}"
