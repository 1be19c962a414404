"""`workstation tasks`: submitted, followed, explained, taken back."""

from __future__ import annotations

from datetime import timedelta

import click

from workstation.cli import task_views, waiting
from workstation.cli.bulk import each
from workstation.cli.connection import connect, get, pages
from workstation.cli.exits import TASK_FAILED, Stopped
from workstation.cli.following import Look, follow
from workstation.cli.names import AgentName, Noun, TaskNumber, task_argument
from workstation.cli.output import Output, output_option
from workstation.cli.submitting import submit
from workstation.cli.task_display import describe, say_end
from workstation.cli.times import now
from workstation.cli.values import Duration

STATES = ("waiting", "pending", "running", "completed", "failed", "cancelled")


@click.group(cls=Noun)
def tasks() -> None:
    """Submit tasks and follow them. TASK is a number."""


tasks.add_command(submit)


@tasks.command("list")
@click.option("--status", type=click.Choice(STATES), help="Those in a state.")
@click.option("--agent", type=AgentName(), metavar="AGENT", help="Those of an agent.")
@click.option("--type", "kind", metavar="TYPE", help="Those of a type.")
@click.option("--capability", metavar="CAP", help="Those for any agent that has it.")
@click.option("--dead-letter", is_flag=True, help="Failed for good, not yet redriven.")
@click.option("-n", "--limit", type=click.IntRange(1), default=20, show_default=True, metavar="N", help="The newest N.")
@output_option
def list_tasks(
    output: Output,
    status: str | None,
    agent: str | None,
    kind: str | None,
    capability: str | None,
    dead_letter: bool,
    limit: int,
) -> None:
    """List tasks, newest first."""
    with connect() as client:
        filters = {
            "status": status,
            "agentId": None if agent is None else client.agents.number(agent),
            "type": kind,
            "capability": capability,
            "dead_letter": dead_letter or None,
        }
        found = pages(client, "/api/agents/tasks", "tasks", limit, filters)
    output.show_list(found, task_views.COLUMNS, "No task fits.")


@tasks.command("show")
@task_argument
@output_option
def show_task(output: Output, task: str) -> None:
    """Show a task, its attempts, payload and result."""
    with connect() as client:
        found = get(client, _path(task))
        attempts = get(client, f"{_path(task)}/attempts")["attempts"] if output.is_table else []
    output.show_one(found, lambda: task_views.details(found, attempts))


@tasks.command("watch")
@task_argument
@output_option
@click.pass_context
def watch_task(ctx: click.Context, output: Output, task: str) -> None:
    """Print every change of a task, a line each, until it is final. Exits with 3 where it failed."""
    last: object = None
    try:
        with connect() as client:
            for look in follow(client, task):
                seen = (look.task["status"], look.task["attempt"], look.task.get("progress"), look.why)
                if seen != last:
                    _print_change(look, output)
                last = seen
    except KeyboardInterrupt:
        raise Stopped(f"Interrupted: task {task} goes on.") from None
    say_end(look.task)
    ctx.exit(0 if look.task["status"] == "completed" else TASK_FAILED)


def _print_change(look: Look, output: Output) -> None:
    if output.is_table:
        click.echo(f"{now().astimezone():%H:%M:%S}  {describe(look)}")
    else:
        output.show_each([look.task])


@tasks.command("wait")
@click.argument("ids", nargs=-1, required=True, metavar="TASK...", type=TaskNumber())
@click.option("--timeout", type=Duration(), metavar="TIME", help="Give up after so long, with exit code 124.")
@output_option
@click.pass_context
def wait_for_tasks(ctx: click.Context, output: Output, ids: tuple[str, ...], timeout: timedelta | None) -> None:
    """Wait until tasks are final. One task: prints its result. Exits with 3 where one failed."""
    with connect() as client:
        ctx.exit(waiting.await_tasks(client, ids, timeout, output))


@tasks.command("cancel")
@click.argument("ids", nargs=-1, required=True, metavar="TASK...", type=TaskNumber())
def cancel_tasks(ids: tuple[str, ...]) -> None:
    """Cancel tasks; those that run are cancelled at once, and their agents are told."""

    def verb(task: str) -> str:
        client.cancel(task)
        return f"task {task} cancelled"

    with connect() as client:
        each(ids, verb)


@tasks.command("redrive")
@click.argument("ids", nargs=-1, required=True, metavar="TASK...", type=TaskNumber())
def redrive_tasks(ids: tuple[str, ...]) -> None:
    """Run failed tasks again, with all their retries."""

    def verb(task: str) -> str:
        client.redrive(task)
        return f"task {task} queued again"

    with connect() as client:
        each(ids, verb)


@tasks.command("explain")
@task_argument
@output_option
def explain_task(output: Output, task: str) -> None:
    """Say why a task is where it is, and what to do about it."""
    with connect() as client:
        found = get(client, f"{_path(task)}/explain")
    output.show_one(found, lambda: task_views.gates(found))


def _path(task: str) -> str:
    return f"/api/agents/tasks/{task}"
