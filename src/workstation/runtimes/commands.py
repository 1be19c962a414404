"""From an agent's run spec to a command line and an environment."""

import os
import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workstation.runtimes.driver import Limits, RuntimeFailure

INHERITED = (
    "PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR",
    "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "PLAYWRIGHT_BROWSERS_PATH",
    "SSL_CERT_FILE", "SSL_CERT_DIR",
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
)  # fmt: skip
"""The only variables a copy inherits from us: none of them holds a secret of ours."""

DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin"
_BUILTIN_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_SIZE = re.compile(r"(\d+)\s*([kmg]?)i?b?", re.IGNORECASE)
_UNITS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}


@dataclass(frozen=True, slots=True)
class Command:
    """A command line ready to run: program (absolute) and arguments, folder (None: ours), variables."""

    argv: tuple[str, ...]
    cwd: Path | None
    env: Mapping[str, str]


def resolve(run: Mapping[str, Any], search_path: str) -> Command:
    """Turn `{"builtin": NAME}` or `{"command": [...], "cwd"?, "env"?}` into a Command.

    Raises RuntimeFailure (not retryable) that names what is missing or malformed.
    """
    env = _variables(run.get("env", {}))
    cwd = _folder(run.get("cwd"))
    if "builtin" in run:
        return Command((sys.executable, "-m", "workstation.agents", _builtin(run["builtin"])), cwd, env)
    argv = run.get("command")
    if not isinstance(argv, list) or not all(isinstance(word, str) for word in argv) or not any(argv[:1]):
        raise RuntimeFailure(
            'The run spec needs "command" as a list of words, such as ["python", "-m", "my_agent"].',
            retryable=False,
        )
    return Command((_program(argv[0], cwd, env.get("PATH", search_path)), *argv[1:]), cwd, env)


def search_path_of(environment: Mapping[str, str]) -> str:
    """The PATH of a copy: the folder of our interpreter first, as in an activated virtual environment."""
    own = str(Path(sys.executable).parent)
    return os.pathsep.join((own, environment.get("PATH", DEFAULT_PATH)))


def inherited(environment: Mapping[str, str]) -> dict[str, str]:
    """What a copy takes over from our environment."""
    return {name: environment[name] for name in INHERITED if name in environment}


def limits_of(run: Mapping[str, Any]) -> Limits:
    """The limits in a run spec: `memory` ("256m", or bytes) and `cpus`. RuntimeFailure where malformed."""
    cpus = run.get("cpus")
    if cpus is not None and (isinstance(cpus, bool) or not isinstance(cpus, int | float) or cpus <= 0):
        raise RuntimeFailure(f'"cpus" must be a number above 0, such as 0.5; it is {cpus!r}.', retryable=False)
    return Limits(memory_bytes=_bytes(run.get("memory")), cpus=cpus)


def _bytes(size: Any) -> int | None:
    if size is None:
        return None
    match = _SIZE.fullmatch(str(size))
    if match is None or int(match[1]) == 0:
        raise RuntimeFailure(f'"memory" must be a size such as "256m"; it is {size!r}.', retryable=False)
    return int(match[1]) * _UNITS[match[2].lower()]


def _builtin(name: Any) -> str:
    if not isinstance(name, str) or not _BUILTIN_NAME.fullmatch(name):
        raise RuntimeFailure(
            f'"builtin" must name a built-in agent, such as "browser"; it is {name!r}.', retryable=False
        )
    return name


def _variables(env: Any) -> dict[str, str]:
    if not isinstance(env, Mapping) or not all(isinstance(k, str) and isinstance(v, str) for k, v in env.items()):
        raise RuntimeFailure('"env" in the run spec must map names to texts.', retryable=False)
    return dict(env)


def _folder(cwd: Any) -> Path | None:
    if cwd is None:
        return None
    if not isinstance(cwd, str) or not Path(cwd).is_dir():
        raise RuntimeFailure(f'The working folder {cwd!r} does not exist: create it or correct "cwd".', retryable=False)
    return Path(cwd).absolute()


def _program(word: str, cwd: Path | None, search_path: str) -> str:
    wanted = str((cwd or Path.cwd()) / word) if "/" in word else word
    found = shutil.which(wanted, path=search_path)
    if found is None:
        raise RuntimeFailure(
            f'The program {word!r} is not installed here or not executable: install it or mend "command".',
            retryable=False,
        )
    return str(Path(found).absolute())
