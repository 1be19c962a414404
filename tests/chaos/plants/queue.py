"""Bugs planted where tasks are created, claimed, cancelled and counted."""

from __future__ import annotations

from tests.chaos.plants.plant import Edit, Options, Plant

TASKS_SQL = "src/workstation/store/sql/tasks.sql"
SCHEMA = "src/workstation/store/migrations/0001_spine.sql"
SUBMITTER = "src/workstation/dispatch/submitter.py"
DATABASE = "src/workstation/store/database.py"

CALM = Options(seed=1, seconds=20)
HOSTILE = Options(seed=7, seconds=30, load="hostile")
LOST_ANSWERS = Options(seed=3, seconds=20, fail_points="submit.after_commit=cut@20%")

PLANTS = (
    Plant(
        "acknowledged-before-commit",
        "a new task is acknowledged when its id is known, and written a moment later",
        (
            Edit(
                SUBMITTER,
                "        return await self._hot.run(lambda connection: submit(connection, units, ids))\n",
                "        before = getattr(self, 'before', None)\n"
                "        async def write():\n"
                "            if before is not None:\n"
                "                await asyncio.wait([before])\n"
                "            await asyncio.sleep(0.05)\n"
                "            await self._hot.run(lambda connection: submit(connection, units, ids))\n"
                "        self.before = asyncio.create_task(write())\n"
                "        given = iter(ids)\n"
                "        return [[queue.Created(next(given)) for _ in unit.tasks] for unit in units]\n",
            ),
            Edit(
                SUBMITTER,
                "from __future__ import annotations\n",
                "from __future__ import annotations\nimport asyncio\n",
            ),
        ),
        ("nothing acknowledged is lost",),
        Options(seed=1, seconds=20, faults=((6, "orchestrator-kill", 0, 0), (13, "orchestrator-kill", 0, 0))),
    ),
    Plant(
        "commit-not-flushed",
        "commits are acknowledged before they are on the disk",
        (
            Edit(
                "src/workstation/store/ways.py",
                "_EVERYWHERE: Final = {",
                '_EVERYWHERE: Final = {"synchronous_commit": "off", ',
            ),
        ),
        (
            "nothing acknowledged is lost",
            "what an agent was told of its report stands",
            "what was seen as final stays so",
        ),
        Options(
            seed=4,
            seconds=30,
            load="steady",
            faults=((5, "postgres-kill", 0, 0), (12, "postgres-kill", 0, 0), (19, "postgres-kill", 0, 0)),
        ),
    ),
    Plant(
        "key-does-not-guard",
        "the same idempotency key inserts a second task",
        (
            Edit(SCHEMA, "create unique index idempotency_keys", "create index idempotency_keys"),
            Edit(
                TASKS_SQL,
                "    on conflict (created_by, idempotency_key) where idempotency_key is not null do nothing\n",
                "",
                within="-- name: submit\n",
            ),
        ),
        ("one key is one task",),
        LOST_ANSWERS,
    ),
    Plant(
        "lost-answer-is-not-found",
        "a repeated request whose first answer was lost is told that there is no such agent",
        (
            Edit(
                "src/workstation/services/queue.py",
                "        if kept is None:\n",
                "        if kept is not None and kept[1] == task.request_hash:\n",
                within="def _answer(",
            ),
        ),
        ("a client is never told of a fault of ours", "every task reaches a final state"),
        LOST_ANSWERS,
    ),
    Plant(
        "replay-ignores-the-body",
        "another request under a key that is taken is answered with the task of the first",
        (
            Edit(
                "src/workstation/services/queue.py",
                "        if kept[1] != task.request_hash:\n",
                "        if kept[1] is None:\n",
            ),
        ),
        ("one key is one task",),
        CALM,
    ),
    Plant(
        "not-due-and-started",
        "a task for later is handed to a free agent as it is created",
        (
            Edit(
                SUBMITTER, "if task.run_at is not None or self._floor.is_marked(lane)", "if self._floor.is_marked(lane)"
            ),
        ),
        ("no task starts before it is due",),
        CALM,
    ),
    Plant(
        "lowest-priority-first",
        "the claim goes through the ranks from 1 to 10",
        (
            Edit(TASKS_SQL, "generate_series(10, 1, -1)", "generate_series(1, 10)", within="-- name: look_at_heads\n"),
            Edit(
                "src/workstation/domain/assign.py",
                "key=lambda head: (-head.rank,",
                "key=lambda head: (head.rank,",
            ),
        ),
        ("higher priority goes first",),
        Options(seed=5, seconds=20, load="steady", timeout_ms=20_000, work_seconds=2),
    ),
    Plant(
        "claim-is-not-a-version",
        "a claim does not raise the version of its task",
        (
            Edit(
                TASKS_SQL,
                "interval '1 millisecond', version = t.version + 1",
                "interval '1 millisecond'",
                within="-- name: claim\n",
            ),
        ),
        ("every change has its event",),
        CALM,
    ),
    Plant(
        "cancel-without-event",
        "no event tells of a cancelled task",
        (
            Edit(
                TASKS_SQL,
                "    from cancelled having count(*) > 0\n",
                "    from cancelled having count(*) > 1\n",
                within="-- name: cancel\n",
            ),
        ),
        ("every change has its event",),
        CALM,
    ),
    Plant(
        "cancelled-is-not-counted",
        "the counts of an agent leave out what is cancelled",
        (
            Edit(
                SCHEMA,
                "sum(case when status = 'cancelled' then n else 0 end) as cancelled",
                "sum(case when status = 'canceled' then n else 0 end) as cancelled",
            ),
        ),
        ("counts equal rows",),
        CALM,
    ),
    Plant(
        "cancel-tells-nobody",
        "an agent is not told that the task it works on was cancelled",
        (
            Edit(
                "src/workstation/dispatch/dispatcher.py",
                "        if instance_id is not None:\n",
                "        if instance_id is None:\n",
                within="    def cancelled(",
            ),
            Edit(
                "src/workstation/api/gateway/socket.py",
                "        if lost := sorted(listed - known - session.settling):\n",
                "        if lost := sorted(set()):\n",
            ),
            Edit(
                "src/workstation/api/gateway/socket.py",
                "        if lost:\n",
                "        if not answers:\n",
                within="    async def _progress(",
            ),
        ),
        ("who works on a cancelled task is told",),
        Options(seed=2, seconds=20, load="steady", timeout_ms=20_000, cancelled_seconds=10),
    ),
    Plant(
        "events-by-id-alone",
        "who follows events is shown rows while older ones are not committed yet",
        (
            Edit(
                "src/workstation/store/sql/events.sql",
                "  and tx < pg_snapshot_xmin(pg_current_snapshot())\n",
                "",
                within="-- name: list_events\n",
            ),
        ),
        ("who follows events misses none",),
        Options(seed=6, seconds=20, fail_points="submit.before_commit=pause:0.5@20%"),
    ),
    Plant(
        "batch-in-parts",
        "a batch of which one task is refused is created all the same, without it",
        (
            Edit(
                "src/workstation/services/queue.py",
                "            if isinstance(answer, Refusal):\n                raise answer\n",
                "",
                within="async def submit_alone(",
            ),
        ),
        test="tests/integration/services/test_submit.py",
    ),
)
