"""The TypeScript examples of a requirement run as they are written, but for token, addresses and a task type.

REQUIREMENT_EXAMPLES names the Markdown file that has them; without it there is nothing to run.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from tests.support.live_server import LiveServer
from tests.support.node import run_node

FILE = os.environ.get("REQUIREMENT_EXAMPLES")
BLOCK = re.compile(r"^```(?:typescript|ts)\n(.*?)^```", re.DOTALL | re.MULTILINE)
HELPER = re.compile(r"^async function waitForTaskCompletion\(.*?^}\n", re.DOTALL | re.MULTILINE)

# What the examples use and leave to their reader; monitors end by themselves after a while.
SURROUNDINGS = """
const agentId = '1';
const getCpuUsage = () => '25%', getMemoryUsage = () => '512MB', getUptime = () => 3600, getTaskCount = () => 7;
const sendAlert = (level, text) => console.log(level, text);
"""
MONITOR_ENDS = "\nsetTimeout(() => process.exit(0), 2500);\n"

pytestmark = pytest.mark.skipif(FILE is None, reason="REQUIREMENT_EXAMPLES names no file")


def examples() -> list[str]:
    """The blocks of the file."""
    return [] if FILE is None else BLOCK.findall(Path(FILE).read_text())


@pytest.mark.parametrize("number", range(len(examples())))
async def test_an_example_runs_without_an_error(server: LiveServer, shop: str, tmp_path: Path, number: int) -> None:
    program = tmp_path / f"example{number}.mjs"
    program.write_text(runnable(examples()[number], examples(), server, shop))
    printed = await run_node(server, program)
    print(printed)
    assert "fail" not in printed.lower() and "error" not in printed.lower(), printed


def runnable(example: str, others: list[str], server: LiveServer, shop: str) -> str:
    """The example with its token, its addresses, a task type that exists, and what it leaves to its reader."""
    text = example
    if "waitForTaskCompletion(" in text and not HELPER.search(text):
        text += "\n" + next(found[0] for other in others if (found := HELPER.search(other)))
    text = text.replace("YOUR_JWT_TOKEN", server.token).replace("http://localhost:3000", server.url)
    text = text.replace("https://example.com", shop).replace("'complex-task'", "'scrape'")
    if "setInterval(" in text:
        # Minutes between two reports are too long for a test.
        text = re.sub(r"\b(60000|300000)\b", "300", text) + MONITOR_ENDS
    if "Promise.race(" in text:
        # The timer that lost the race would keep Node for its whole minute.
        text += "\nprocess.exit(0);\n"
    return (SURROUNDINGS if "class" not in text else "") + text
