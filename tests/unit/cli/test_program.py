"""The program as a whole: exit codes, what it imports, completion, its page."""

import subprocess
import sys
from pathlib import Path

import click
import pytest
from tests.support.scripted_server import ScriptedServer
from tests.unit.cli.conftest import Run, run_alone

from workstation.cli import reference
from workstation.cli.exits import EXIT_CODES
from workstation.cli.program import COMMANDS, program

ROOT = Path(__file__).parents[3]
HEAVY = ("workstation.server", "asyncpg", "uvicorn", "playwright", "asyncio", "workstation_sdk.agent")


def test_the_version_is_told_without_a_server(data_folder: Path) -> None:
    result = run_alone("--version")
    assert (result.exit_code, result.stdout) == (0, "workstation 0.1.0\n")


def test_an_unknown_command_is_a_usage_error(run: Run) -> None:
    assert run("frobnicate").exit_code == 2


def test_no_server_exits_with_7_and_says_how_to_start_one(
    run: Run, monkeypatch: pytest.MonkeyPatch, unused_port: int
) -> None:
    monkeypatch.setenv("WORKSTATION_URL", f"http://127.0.0.1:{unused_port}")
    result = run("tasks", "list")
    assert result.exit_code == 7
    assert "Connection refused" in result.stderr and "workstation up" in result.stderr
    assert "Errno" not in result.stderr


def test_no_token_is_a_usage_error_that_names_the_variable(data_folder: Path) -> None:
    result = run_alone("tasks", "list")
    assert result.exit_code == 2
    assert "WORKSTATION_TOKEN" in result.stderr


def test_a_server_that_is_not_ready_exits_with_75(server: ScriptedServer, run: Run) -> None:
    server.refuse("GET /api/agents/tasks", 503, "The database cannot be reached now.", "unavailable")
    assert run("tasks", "list").exit_code == 75


def test_an_answer_that_is_not_ours_is_told_in_one_sentence(server: ScriptedServer, run: Run) -> None:
    server.on("GET /api/agents/tasks", (200, "<html>hello</html>"))
    result = run("tasks", "list")
    assert result.exit_code == 1
    assert "is this a Workstation server?" in result.stderr


def test_there_are_no_colours_off_a_terminal(server: ScriptedServer, run: Run) -> None:
    server.refuse("GET /api/agents/tasks", 403, "No.", "forbidden")
    assert "\x1b" not in run("tasks", "list").output + run("--help").output


def test_no_color_is_respected_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    with click.Context(program) as ctx:
        ctx.invoke(program.callback)
        assert ctx.color is False


@pytest.mark.parametrize("words", [["--version"], ["tasks", "list"], ["agents", "list", "--help"]])
def test_client_commands_import_neither_the_server_nor_an_event_loop(
    words: list[str], server: ScriptedServer, run: Run
) -> None:
    server.data("GET /api/agents/tasks", {"tasks": [], "next": None})
    code = (
        "import sys, contextlib\n"
        "from workstation.cli import main\n"
        f"sys.argv[1:] = {words!r}\n"
        "with contextlib.suppress(SystemExit): main()\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_completion(shell: str, data_folder: Path) -> None:
    result = run_alone("completion", shell)
    assert result.exit_code == 0
    assert "_WORKSTATION_COMPLETE" in result.stdout


def test_every_command_says_what_it_does() -> None:
    with click.Context(program, info_name="workstation") as ctx:
        undocumented = [path for path, command in _every_command(ctx) if not command.help]
    assert undocumented == []


def test_every_option_says_what_it_does() -> None:
    with click.Context(program, info_name="workstation") as ctx:
        silent = [
            f"{path} {option.opts[-1]}"
            for path, command in _every_command(ctx)
            for option in command.params
            if isinstance(option, click.Option) and not option.help
        ]
    assert silent == []


def test_the_page_is_what_the_commands_say() -> None:
    assert (ROOT / "docs" / "cli.md").read_text() == reference.page(), (
        "run: python -m workstation.cli.reference > docs/cli.md"
    )


def test_the_page_has_every_command_option_and_exit_code() -> None:
    page = reference.page()
    with click.Context(program, info_name="workstation") as ctx:
        for path, command in _every_command(ctx):
            assert f"# {path}\n" in page
            section = page.split(f"# {path}\n", 1)[1].split("\n#", 1)[0]
            if not isinstance(command, click.Group):
                options = [word for p in command.params if isinstance(p, click.Option) for word in p.opts]
                assert [word for word in options if word not in section] == []
    assert all(f"| {code} | {meaning} |" in page for code, meaning in EXIT_CODES.items())
    assert all(f"## workstation {name}" in page for name in COMMANDS)


def _every_command(ctx: click.Context) -> list[tuple[str, click.Command]]:
    group = ctx.command
    assert isinstance(group, click.Group)
    found: list[tuple[str, click.Command]] = []
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        assert command is not None
        with click.Context(command, info_name=name, parent=ctx) as inner:
            found.append((inner.command_path, command))
            if isinstance(command, click.Group):
                found += _every_command(inner)
    return found
