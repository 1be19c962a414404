"""`workstation up`: everything on this machine, in the foreground."""

from __future__ import annotations

import dataclasses
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from workstation.cli.exits import Trouble
from workstation.cli.local import find_holder
from workstation.cli.output import Output, say
from workstation.cli.tables import card

if TYPE_CHECKING:
    from workstation.server.data_folder import Holder
    from workstation.server.run import Running
    from workstation.server.settings import Settings

LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")
EXAMPLE_AGENT: Final = "browser-automation-agent"


@click.command()
@click.option("--host", metavar="ADDRESS", help="Where to listen.  [default: 127.0.0.1, this machine alone]")
@click.option("--port", type=click.IntRange(0, 65535), metavar="N", help="Where to listen.  [default: PORT, or 3000]")
@click.option("--no-agents", is_flag=True, help="Leave the built-in agents stopped.")
@click.pass_context
def up(ctx: click.Context, host: str | None, port: int | None, no_agents: bool) -> None:
    """Start everything and stay until Ctrl-C.

    The database, the API and the built-in agents. What they keep is in the data folder: WORKSTATION_DATA_DIR, or
    ~/.local/share/workstation. Where one runs already on that folder, its status is printed instead.
    """
    holder = find_holder()
    if holder is not None:
        _show_running(holder)
        return
    settings = _settings(host, port, no_agents)
    if settings.host not in LOOPBACK:
        say("!", f"{settings.host}: whoever reaches this machine reaches the API. It asks for a token, but")
        say("!", "nothing is encrypted: put a proxy with TLS in front of it.")
    say("…", f"starting on {settings.data_dir}")
    ctx.exit(_run(settings))


def _run(settings: Settings) -> int:
    from workstation.server.data_folder import DataFolderFailure, DataFolderTaken
    from workstation.server.run import StartFailure, Told
    from workstation.server.run import up as run

    try:
        code = run(settings, Told(announce, stopping, lambda sentence: say("…", sentence)))
    except DataFolderTaken as taken:
        _show_running(taken.holder)
        return 0
    except (StartFailure, DataFolderFailure) as failure:
        raise Trouble(str(failure)) from failure
    if code == 0:
        say("✓", "stopped")
    return code


def stopping() -> None:
    """Say that the server goes down, which takes as long as agents need to finish what they hold."""
    say("…", "stopping: agents finish or give back what they hold")


def announce(running: Running) -> None:
    """Print where everything is and how to try it, never a token; warnings go to standard error."""
    for warning in running.warnings:
        say("!", warning)
    for line in announcement(running):
        click.echo(line)


def _program() -> str:
    """Return how to call this program from here: by its name, or by its path where its folder is not searched."""
    called = Path(sys.argv[0])
    if shutil.which("workstation") or called.name != "workstation":
        return "workstation"
    return os.path.relpath(called) if called.is_relative_to(Path.cwd()) else str(called)


def announcement(running: Running) -> Iterator[str]:
    """Return the lines about a server that is ready."""
    yield f"{click.style('✓', fg='green')} Workstation is up at {click.style(running.url, bold=True)}"
    yield ""
    yield from (
        f"  {line}"
        for line in card(
            [
                ("API", f"{running.url}/api"),
                ("docs", f"{running.url}/docs"),
                ("database", running.database),
                ("data folder", running.data_folder),
                ("logs", f"{running.server_log}  (workstation logs -f)"),
                ("agents", _agents(running)),
            ]
        )
    )
    yield ""
    yield "Try it in another terminal, which is logged in already:"
    if os.environ.get("WORKSTATION_DATA_DIR"):
        yield f"  export WORKSTATION_DATA_DIR={running.data_folder}"
    program = _program()
    yield f"  {program} agents list"
    if EXAMPLE_AGENT not in running.agents:
        yield f"  {program} agents start {EXAMPLE_AGENT}"
    yield f"  {program} tasks submit scrape --agent {EXAMPLE_AGENT} \\"
    yield "      url=https://example.com --wait"
    yield ""
    yield "Ctrl-C stops everything; tasks stay and go on with the next `workstation up`."


def _agents(running: Running) -> str:
    if not running.agents:
        return "none started: workstation agents start --all"
    return f"{len(running.agents)} starting  (workstation agents list)"


def _settings(host: str | None, port: int | None, no_agents: bool) -> Settings:
    from workstation.server.settings import Settings, SettingsError

    try:
        settings = Settings.from_environment(os.environ)
    except SettingsError as error:
        raise Trouble(str(error), 2) from error
    chosen: dict[str, Any] = {"host": host, "port": port, "start_agents": False if no_agents else None}
    return dataclasses.replace(settings, **{name: value for name, value in chosen.items() if value is not None})


def _show_running(holder: Holder | None) -> None:
    """A second `up` on a data folder changes nothing."""
    from workstation.cli.status import show_status

    if holder is None or holder.url is None:
        say("✓", "it runs already, and is starting or stopping just now: `workstation status` tells when it is ready")
        return
    say("✓", "it runs already")
    show_status(Output("table"))
