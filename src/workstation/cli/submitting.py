"""`workstation tasks submit`: a task from the command line."""

from __future__ import annotations

import sys
from datetime import datetime, timedelta
from typing import Any, Final

import click

from workstation.cli import waiting
from workstation.cli.connection import connect
from workstation.cli.names import AgentName
from workstation.cli.output import Output, output_option, say
from workstation.cli.times import parse_duration
from workstation.cli.values import Duration, Instant, JsonObject, parse_pairs

FOR_EVER: Final = "until it is final"


class _WaitSeconds(click.ParamType[timedelta | str]):
    """How long to wait, or for ever."""

    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value if value == FOR_EVER else Duration().convert(value, param, ctx)


class _Submit(click.Command):
    """Takes the word after --wait for its value only where that is a duration: fields come after it, too."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, list(_with_values(args)))


def _with_values(args: list[str]) -> list[str]:
    settled = []
    for index, arg in enumerate(args):
        follower = args[index + 1] if index + 1 < len(args) else ""
        settled.append(f"--wait={FOR_EVER}" if arg == "--wait" and not _is_duration(follower) else arg)
    return settled


def _is_duration(text: str) -> bool:
    try:
        parse_duration(text)
    except ValueError:
        return False
    return True


@click.command("submit", cls=_Submit)
@click.argument("type")
@click.argument("fields", nargs=-1, metavar="[key=text]... [key:=json]...")
@click.option("--agent", type=AgentName(), metavar="AGENT", help="The agent that shall do it.")
@click.option("--capability", metavar="CAP", help="Any agent that has this may do it.")
@click.option("--payload", type=JsonObject(), metavar="JSON|@FILE|-", help="The payload; fields are put on top of it.")
@click.option("--priority", type=click.IntRange(1, 10), help="10 goes first.  [default: 5]")
@click.option("--max-retries", type=click.IntRange(0, 100), help="Tries after the first.  [default: 3]")
@click.option("--timeout", type=Duration(), metavar="TIME", help="For each attempt, such as 90s or 5m.  [default: 30s]")
@click.option("--run-at", type=Instant(), metavar="TIME", help="Not before: 2026-08-02T10:00:00Z, or +15m.")
@click.option("--region", metavar="REGION", help="Only instances of this region.")
@click.option("--key", metavar="KEY", help="Idempotency key: the same again makes no second task.")
@click.option("--wait", type=_WaitSeconds(), metavar="[SECONDS]", help="Wait for the result, and print it.")
@output_option
@click.pass_context
def submit(
    ctx: click.Context,
    output: Output,
    type: str,
    fields: tuple[str, ...],
    agent: str | None,
    capability: str | None,
    payload: dict[str, Any] | None,
    priority: int | None,
    max_retries: int | None,
    timeout: timedelta | None,
    run_at: datetime | None,
    region: str | None,
    key: str | None,
    wait: timedelta | str | None,
) -> None:
    """Submit a task of TYPE for an agent, and print its number.

    workstation tasks submit scrape --agent browser-automation-agent url=https://example.com depth:=2 --wait
    """
    if (agent is None) == (capability is None):
        raise click.UsageError("Say who shall do it: either --agent AGENT or --capability CAP.")
    wanted = (payload or {}) | parse_pairs(fields)
    with connect() as client:
        task_id = client.submit(
            type,
            wanted,
            agent=agent,
            capability=capability,
            priority=priority,
            max_retries=max_retries,
            timeout=timeout,
            run_at=run_at,
            region=region,
            idempotency_key=key,
        )
        say("✓", f"task {task_id} queued")
        if wait is not None:
            ctx.exit(waiting.await_tasks(client, [task_id], wait if isinstance(wait, timedelta) else None, output))
    if not output.is_table:
        output.show_one({"taskId": task_id}, list)
    elif not sys.stdout.isatty():
        click.echo(task_id)
