"""The peers' own environments, kept in a cache folder and renewed when their locked requirements change."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import sys
from pathlib import Path

from benchmarks.processes import ROOT

CACHE = ROOT / ".venv-bench"
REQUIREMENTS = ROOT / "benchmarks"
NEWER_PYTHONS = ("python3.12", "python3.13", "python3.14")
PYTHON_312_VARIABLE = "BENCH_PYTHON312"


async def python_environment(name: str, python: str, requirements: str) -> Path:
    """The interpreter of a virtual environment that holds exactly those locked requirements."""
    folder, locked = CACHE / name, REQUIREMENTS / requirements
    if not _is_current(folder, locked):
        print(f"installing {requirements} into {folder.relative_to(ROOT)}", flush=True)
        await _run(python, "-m", "venv", "--clear", str(folder))
        await _run(
            str(folder / "bin/python"), "-m", "pip", "install", "--quiet", "--quiet",
            "--disable-pip-version-check", "--compile", "--require-hashes", "-r", str(locked),
        )  # fmt: skip
        _mark_current(folder, locked)
    return folder / "bin/python"


async def node_environment(name: str, source: Path) -> Path:
    """A folder with the packages of `source/package-lock.json` installed; install scripts do not run."""
    folder, locked = CACHE / name, source / "package-lock.json"
    if not _is_current(folder, locked):
        print(f"installing {locked.relative_to(ROOT)} into {folder.relative_to(ROOT)}", flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for file in ("package.json", "package-lock.json", ".npmrc"):
            shutil.copy(source / file, folder / file)
        await _run("npm", "ci", "--ignore-scripts", "--silent", cwd=folder)
        _mark_current(folder, locked)
    return folder


async def newer_python() -> str | None:
    """A Python of 3.12 or later that really runs, or None; BENCH_PYTHON312 names one outright."""
    named = os.environ.get(PYTHON_312_VARIABLE)
    for candidate in [named] if named else NEWER_PYTHONS:
        path = shutil.which(candidate)
        if path and await _is_newer(path):
            return path
    return None


def own_python() -> str:
    """The interpreter that this process was made with."""
    return getattr(sys, "_base_executable", sys.executable)


async def _is_newer(python: str) -> bool:
    # A version manager's shim exists on the path and still fails.
    check = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 12))"
    process = await asyncio.create_subprocess_exec(
        python, "-c", check, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    return await process.wait() == 0


def _is_current(folder: Path, locked: Path) -> bool:
    mark = folder / "locked.sha256"
    return mark.exists() and mark.read_text() == _digest(locked)


def _mark_current(folder: Path, locked: Path) -> None:
    (folder / "locked.sha256").write_text(_digest(locked))


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


async def _run(*command: str, cwd: Path = ROOT) -> None:
    process = await asyncio.create_subprocess_exec(*command, cwd=cwd, stdout=asyncio.subprocess.DEVNULL)
    if await process.wait() != 0:
        raise RuntimeError(f"`{' '.join(command)}` failed; its message is above")
