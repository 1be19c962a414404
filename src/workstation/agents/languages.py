"""The languages of the code-runner: where their programs are and how they are started."""

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import playwright

from workstation.agents.sandbox import Limits, Mount

SYSTEM_PATH = "/usr/local/bin:/usr/bin"
NODE_IN_SANDBOX = Path("/opt/node")


@dataclass(frozen=True, slots=True)
class Language:
    """`program` runs a file, `trial` shows that it works; `data` and `address_space` as in `Limits`."""

    program: tuple[str, ...]
    trial: tuple[str, ...]
    file_name: str
    data: int
    address_space: int | None

    def limits(self, wall_seconds: float) -> Limits:
        """The limits of one run."""
        return Limits(wall_seconds=wall_seconds, data=self.data, address_space=self.address_space)


def find_mounts() -> list[Mount]:
    """What the languages need besides /usr: this Python where it is elsewhere, and Playwright's Node."""
    mounts = []
    if not Path(PYTHON).is_relative_to("/usr"):
        mounts.append(Mount(Path(sys.base_prefix), Path(sys.base_prefix)))
    if BUNDLED_NODE.is_file():
        mounts.append(Mount(BUNDLED_NODE, NODE_IN_SANDBOX))
    return mounts


def _find_python() -> str:
    own = Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    return str(own) if own.exists() else shutil.which("python3", path=SYSTEM_PATH) or "python3"


def _find_node() -> str:
    if BUNDLED_NODE.is_file():
        return str(NODE_IN_SANDBOX)
    return shutil.which("node", path=SYSTEM_PATH) or "node"


BUNDLED_NODE = Path(playwright.__file__).parent / "driver" / "node"
PYTHON = _find_python()
NODE = _find_node()
MEGABYTE = 1024 * 1024

LANGUAGES: dict[str, Language] = {
    "python": Language((PYTHON, "-B"), (PYTHON, "-c", "pass"), "main.py", 512 * MEGABYTE, 1024 * MEGABYTE),
    # V8 reserves far more than it uses: what it really holds is limited by its heap and the resident memory.
    "javascript": Language((NODE, "--max-old-space-size=384"), (NODE, "--eval", ""), "main.js", 1024 * MEGABYTE, None),
    "shell": Language(("/bin/sh",), ("/bin/sh", "-c", ":"), "main.sh", 512 * MEGABYTE, 1024 * MEGABYTE),
}
