"""`workstation agents`: the fleet, looked at and changed."""

from __future__ import annotations

import sys
from typing import Any

import click

from workstation.cli import agent_orders, agent_views
from workstation.cli.connection import agent_path, connect, get
from workstation.cli.names import AgentName, Noun, agent_argument
from workstation.cli.output import Output, output_option, print_lines, say
from workstation.cli.tables import printable
from workstation.cli.values import JsonObject

HEALTH_WORDS = ("healthy", "degraded", "unhealthy")


@click.group(cls=Noun)
def agents() -> None:
    """Look at the fleet, start and stop it. AGENT is a name or a number."""


@agents.command("list")
@click.option(
    "--status", type=click.Choice(["stopped", "starting", "running", "stopping", "error"]), help="Those in a state."
)
@click.option("--type", "kind", metavar="TYPE", help="Those of a kind: browser, mcp.")
@click.option("--capability", metavar="CAP", help="Those that have it.")
@click.option("--region", metavar="REGION", help="Those of a region.")
@click.option("--health", type=click.Choice(["unknown", *HEALTH_WORDS]), help="Those that are so.")
@output_option
def list_agents(output: Output, kind: str | None, **filters: str | None) -> None:
    """List agents."""
    with connect() as client:
        found = get(client, "/api/agents", {"type": kind, **filters})["agents"]
    output.show_list(found, agent_views.COLUMNS, "No agent fits.")


@agents.command("show")
@agent_argument
@output_option
def show_agent(output: Output, agent: str) -> None:
    """Show an agent, what its tasks came to, and why it is in its state."""
    with connect() as client:
        path = agent_path(client, agent)
        found = get(client, path)
        why = get(client, f"{path}/why") if output.is_table else {}
    output.show_one(found, lambda: agent_views.details(found, why))


@agents.command("register")
@click.argument("name")
@click.option("--type", "kind", required=True, metavar="TYPE", help="What kind of agent it is.")
@click.option("--capability", "capabilities", multiple=True, metavar="CAP", help="Something it can do; repeat it.")
@click.option("--container", metavar="NAME", help="The existing container that start and stop are about.")
@click.option("--run", type=JsonObject(), metavar="JSON|@FILE", help='How to start it: \'{"command": ["my-agent"]}\'.')
@click.option("--metadata", type=JsonObject(), metavar="JSON|@FILE", help="Anything you want to keep with it.")
@click.option("--region", metavar="REGION", help="Where it runs.")
@click.option("--max-concurrency", type=click.IntRange(1, 10_000), metavar="N", help="Tasks at once, each instance.")
@output_option
def register_agent(output: Output, name: str, kind: str, capabilities: tuple[str, ...], **given: Any) -> None:
    """Register an agent. Without --run and --container it is one that is started elsewhere."""
    body = {"name": name, "type": kind, "capabilities": list(capabilities), "containerName": given.pop("container")}
    body |= given
    with connect() as client:
        made = client.call("POST", "/api/agents", body={key: v for key, v in body.items() if v is not None})["agent"]
    say("✓", f"agent {made['id']} registered: {printable(made['name'])}")
    if not output.is_table:
        output.show_one(made, list)


for order in agent_orders.COMMANDS:
    agents.add_command(order)


@agents.command("health")
@agent_argument
@click.argument("report", required=False, type=click.Choice(HEALTH_WORDS))
@click.option("--metadata", type=JsonObject(), metavar="JSON|@FILE", help="What goes with a report.")
@output_option
def agent_health(output: Output, agent: str, report: str | None, metadata: dict[str, Any] | None) -> None:
    """Show an agent's health, or report it in the agent's place."""
    if report is None and metadata is not None:
        raise click.UsageError("--metadata goes with a report: name healthy, degraded or unhealthy before it.")
    with connect() as client:
        path = agent_path(client, agent)
        if report is None:
            found = get(client, path)["agent"]
            output.show_one(found, lambda: agent_views.health(found))
            return
        body = {"healthStatus": report} | ({} if metadata is None else {"metadata": metadata})
        client.call("POST", f"{path}/health", body=body)
    say("✓", f"{agent} is reported {report}")


@agents.command("logs")
@agent_argument
@click.option("-f", "--follow", is_flag=True, help="Go on with every new line.")
@click.option(
    "-n", "--lines", type=click.IntRange(1, 10_000), default=100, show_default=True, metavar="N", help="The last N."
)
def agent_logs(agent: str, follow: bool, lines: int) -> None:
    """Print the last lines an agent wrote."""
    with connect() as client:
        if follow:
            for line in client.agents.follow_logs(agent, lines=lines):
                print_lines([_shown(line)])
        else:
            print_lines(_shown(line) for line in client.agents.logs(agent, lines=lines))


def _shown(line: str) -> str:
    """A line as it was written, but on a terminal without what could steer it."""
    return printable(line) if sys.stdout.isatty() else line


@agents.command("remove")
@click.argument("names", nargs=-1, required=True, metavar="AGENT...", type=AgentName())
def remove_agents(names: tuple[str, ...]) -> None:
    """Remove stopped agents that have no open tasks. Their history stays."""
    with connect() as client:
        agent_orders.remove(client, names)
