"""code-runner: what it runs, and what does not get out of its sandbox."""

import asyncio
import http.server
import time
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
import pytest_asyncio
from tests.support.served_agent import ServedAgent, serving_agent
from tests.support.websites import serving

from workstation.agents import code_runner
from workstation.agents.sandbox import find_bwraps
from workstation_sdk.testing import run_task

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def runner() -> AsyncIterator[ServedAgent]:
    """The agent with its sandbox."""
    room = await code_runner.open_room()
    if room.sandbox is None:
        pytest.skip(f"no sandbox on this machine: {room.trouble}")
    room.sandbox.close()
    async with serving_agent(code_runner.agent) as served:
        yield served


async def test_python_runs_with_input_and_files(runner: ServedAgent) -> None:
    code = "import sys, part.name; print(sys.stdin.read() + part.name.who); sys.exit(3)"
    files = {"part/name.py": "who = 'world'", "part/__init__.py": ""}
    ended = await runner.run("run", language="python", code=code, stdin="hello ", files=files, timeout=30000)
    result = ended.result
    assert result.pop("duration_ms") > 0
    assert result == {
        "exit_code": 3,
        "stdout": "hello world\n",
        "stderr": "",
        "timed_out": False,
        "truncated": False,
        "killed_by": None,
    }


async def test_javascript_runs(runner: ServedAgent) -> None:
    code = "console.log([1, 2, 3].map(n => n * 2).join()); console.error('oh')"
    ended = await runner.run("run", language="javascript", code=code)
    assert (ended.result["exit_code"], ended.result["stdout"], ended.result["stderr"]) == (
        0,
        "2,4,6\n",
        "oh\n",
    )


async def test_shell_runs(runner: ServedAgent) -> None:
    ended = await runner.run("run", language="shell", code="seq 3 | sort -r | tr '\\n' ' '; exit 7")
    assert (ended.result["exit_code"], ended.result["stdout"]) == (7, "3 2 1 ")


async def test_an_unknown_language_does_not_fit(runner: ServedAgent) -> None:
    ended = await runner.run("run", language="cobol", code="")
    assert ended.error.retryable is False


@pytest.mark.parametrize("name", ["/etc/x", "../x", "a/../../x", "", "main.py", "x\0y"])
async def test_a_file_outside_the_folder_is_refused(runner: ServedAgent, name: str) -> None:
    ended = await runner.run("run", language="python", code="", files={name: "x"})
    assert ended.error.type == "InvalidPayload"
    assert ended.error.retryable is False


async def test_there_is_no_network(runner: ServedAgent) -> None:
    with serving(http.server.BaseHTTPRequestHandler) as port:
        code = f"""
import socket
for family, address in ((socket.AF_INET, ("127.0.0.1", {port})), (socket.AF_INET, ("1.1.1.1", 53)),
                        (socket.AF_INET6, ("::1", {port}))):
    try:
        socket.socket(family).connect(address)
        print("connected", address)
    except OSError:
        print("refused")
print([name for _, name in socket.if_nameindex()])
"""
        ended = await runner.run("run", language="python", code=code)
    assert ended.result["stdout"] == "refused\nrefused\nrefused\n['lo']\n"


async def test_secrets_of_the_machine_are_not_there(runner: ServedAgent, tmp_path: Path) -> None:
    secret = tmp_path / "credentials.json"
    secret.write_text("the token")
    tmp_path.chmod(0o777)
    paths = [
        "/etc/shadow",
        "/etc/passwd",
        str(secret),
        str(Path(__file__)),
        "/proc/1/environ",
        "/run",
        "/home",
        "/sys",
    ]
    code = f"""
import os
for path in {paths!r}:
    try:
        content = os.listdir(path) if os.path.isdir(path) else open(path, "rb").read()
        print(path, content)
    except OSError as error:
        print(path, "unreadable")
print(sorted(os.environ))
"""
    ended = await runner.run("run", language="python", code=code)
    lines = ended.result["stdout"].splitlines()
    assert [line for line in lines[:-1] if not line.endswith("unreadable") and not line.startswith("/proc/1/")] == []
    assert "WORKSTATION" not in ended.result["stdout"]
    assert "TOKEN" not in lines[-1]


async def test_nothing_but_its_own_folders_can_be_written(runner: ServedAgent) -> None:
    code = """
for folder in / /usr /usr/bin /etc /dev /proc/sys/kernel /tmp /work; do
  (echo x > $folder/workstation-probe) 2>/dev/null && echo $folder
done
"""
    ended = await runner.run("run", language="shell", code=code)
    assert ended.result["stdout"].split() == ["/tmp", "/work"]


async def test_the_program_is_nobody_without_powers(runner: ServedAgent) -> None:
    code = "id -u; grep -c 'CapEff:.*[1-9a-f]' /proc/self/status; unshare -U echo escaped; ls -d /proc/[0-9]*"
    ended = await runner.run("run", language="shell", code=code)
    user, powers, *processes = ended.result["stdout"].split()
    assert (user, powers) == ("65534", "0")
    assert "escaped" not in processes
    assert len(processes) < 6


async def test_a_fork_bomb_ends(runner: ServedAgent) -> None:
    before = len(psutil.pids())
    code = "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass"
    ended = await runner.run("run", language="python", code=code, timeout_ms=1500)
    assert ended.result["killed_by"] in ("timeout", "memory")
    assert len(psutil.pids()) < before + 30


@pytest.mark.parametrize(
    ("language", "code"),
    [
        ("python", "x = []\nwhile True: x.append(bytearray(10**7))"),
        ("javascript", "const x = []; while (true) x.push(Buffer.alloc(1e7, 1))"),
        (
            "python",
            "import os\nfor _ in range(3): os.fork()\nx = b'x' * (200 * 10**6)\nimport time; time.sleep(30)",
        ),
        (
            "python",
            "import mmap\nx = [mmap.mmap(-1, 10**8) for _ in range(9)]\nfor m in x: m.write(b'x' * 10**8)",
        ),
    ],
)
async def test_a_memory_bomb_ends(runner: ServedAgent, language: str, code: str) -> None:
    started = time.monotonic()
    ended = await runner.run("run", language=language, code=code, timeout_ms=20_000)
    assert time.monotonic() - started < 15
    assert ended.result["killed_by"] == "memory" or ended.result["exit_code"] != 0


async def test_a_full_disk_is_the_sandboxs_own(runner: ServedAgent) -> None:
    code = "for n in 1 2 3 4 5 6; do head -c 20000000 /dev/zero > /tmp/$n || exit 9; done"
    ended = await runner.run("run", language="shell", code=code)
    assert ended.result["exit_code"] == 9


async def test_endless_output_is_cut_and_ended(runner: ServedAgent) -> None:
    ended = await runner.run("run", language="shell", code="yes")
    assert ended.result["killed_by"] == "output"
    assert ended.result["truncated"] is True
    assert ended.result["exit_code"] is None
    assert len(ended.result["stdout"]) == 256 * 1024


async def test_long_output_is_kept_from_its_start(runner: ServedAgent) -> None:
    ended = await runner.run("run", language="python", code="print('a' * 500_000); print('end')")
    assert ended.result["exit_code"] == 0
    assert ended.result["truncated"] is True
    assert ended.result["stdout"] == "a" * 256 * 1024


async def test_output_that_is_not_text_is_shown_as_well_as_can_be(runner: ServedAgent) -> None:
    ended = await runner.run("run", language="python", code="import os; os.write(1, b'a\\xff\\x00b')")
    assert ended.result["stdout"] == "a\ufffd\ufffdb"


async def test_output_that_json_makes_longer_still_fits(runner: ServedAgent) -> None:
    ended = await runner.run("run", language="python", code="print('\\1' * 300_000)")
    assert ended.result["exit_code"] == 0
    assert ended.result["truncated"] is True
    assert len(ended.result["stdout"]) > 60_000


async def test_a_program_that_takes_too_long_ends_at_its_time(runner: ServedAgent) -> None:
    ended = await runner.run("run", language="shell", code="echo begun; sleep 60", timeout_ms=400)
    assert ended.result["timed_out"] is True
    assert ended.result["exit_code"] is None
    assert ended.result["stdout"] == "begun\n"
    assert ended.result["duration_ms"] < 3000


async def test_a_child_left_behind_ends_with_the_program(runner: ServedAgent) -> None:
    ended = await runner.run("run", language="shell", code="setsid sleep 98765 > /dev/null 2>&1 & echo left")
    assert ended.result["stdout"] == "left\n"
    assert sleepers("98765") == []


async def test_a_cancelled_run_leaves_nothing_running(runner: ServedAgent) -> None:
    task = await runner.submit("run", language="shell", code="sleep 87654 & sleep 87654", timeout_ms=20_000)
    async with asyncio.timeout(10):
        while len(sleepers("87654")) < 2:
            await asyncio.sleep(0.05)
    await runner.connection.cancel(task)
    async with asyncio.timeout(5):
        while sleepers("87654"):
            await asyncio.sleep(0.05)


async def test_ten_runs_at_once_do_not_disturb_each_other(runner: ServedAgent) -> None:
    runs = [runner.run("run", language="python", code=f"print({number})") for number in range(10)]
    ended = await asyncio.gather(*runs)
    assert [one.result["stdout"] for one in ended] == [f"{number}\n" for number in range(10)]


async def test_health_names_the_languages(runner: ServedAgent) -> None:
    beat = await runner.health()
    assert beat.healthStatus == "healthy"
    assert beat.metadata == {"languages": ["javascript", "python", "shell"]}


async def test_without_a_sandbox_nothing_runs_and_health_says_why(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "pkg" / "bin" / "bwrap"
    broken.parent.mkdir(parents=True)
    broken.write_text("#!/bin/sh\necho 'no permission to make a namespace' >&2\nexit 1\n")
    for path in (broken, *list(broken.parents)[:3]):
        path.chmod(0o755)
    monkeypatch.setattr(code_runner, "find_bwraps", lambda: [broken])
    room = await code_runner.open_room()
    health = code_runner.room_health(room)
    assert health.status == "unhealthy"
    assert "no permission to make a namespace" in str(health.metadata)
    outcome = await run_task(code_runner.agent, "run", {"language": "shell", "code": f"touch {tmp_path}/ran"})
    assert outcome.error is not None
    assert outcome.error.type == "SandboxUnavailable"
    assert outcome.error.retryable is False
    assert not (tmp_path / "ran").exists()


async def test_without_bubblewrap_the_reason_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code_runner, "find_bwraps", list)
    room = await code_runner.open_room()
    assert room.trouble is not None
    assert "bubblewrap" in room.trouble


async def test_the_wheels_bubblewrap_is_found() -> None:
    assert find_bwraps()[0].name == "bwrap"


def sleepers(seconds: str) -> list[psutil.Process]:
    """The processes on this machine that sleep for `seconds`."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if (process.info["cmdline"] or [])[:2] == ["sleep", seconds]
    ]
