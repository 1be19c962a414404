"""What the README shows works as it is shown."""

import re
from pathlib import Path
from typing import Any

import pytest

from .scripted_http import Reply, scripted_server

README = Path(__file__).parents[3] / "sdk" / "README.md"
AGENT, TESTS, CLIENT = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)


def run(*blocks: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "readme"}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    return names


@pytest.mark.parametrize("name", ["test_counts", "test_comes_back_with_its_result"])
async def test_the_agent_passes_its_tests(name: str) -> None:
    await run(AGENT, TESTS)[name]()


def test_the_client_shows_the_result(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def ok(data: object) -> Reply:
        return Reply({"success": True, "taskId": "42", "data": data})

    with scripted_server() as api:
        monkeypatch.setenv("WORKSTATION_URL", api.url)
        monkeypatch.setenv("WORKSTATION_TOKEN", "t")
        agents = {"agents": [{"id": "1", "name": "page-counter"}], "total": 1}
        done = {"id": "42", "status": "completed", "result": {"https://example.com": 19}}
        api.says(ok(agents), ok({"taskId": "42"}), ok({"id": "42", "status": "running"}), ok(done))
        run(CLIENT)
    assert capsys.readouterr().out.splitlines() == [
        "running None",
        "completed None",
        "{'https://example.com': 19}",
    ]
