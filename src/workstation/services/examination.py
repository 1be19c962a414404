"""What silently hurts a queue, looked for in the database: each check gives one finding or more."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from datetime import timedelta
from typing import Final, TypeAlias

from workstation.domain.explain import explain, in_words
from workstation.domain.findings import Finding, ok, problem, size_in_words, warning
from workstation.services.facts import candidates_of, facts_of
from workstation.services.instances import HEARTBEAT, LEASE
from workstation.store import examination as store
from workstation.store import tasks as task_store
from workstation.store.database import Connection, Row
from workstation.store.durability import settings_that_are_off
from workstation.store.migrate import schema_numbers

Check: TypeAlias = Callable[[Connection], Awaitable[list[Finding]]]

OLD: Final = timedelta(minutes=1)
VERY_OLD: Final = timedelta(minutes=10)
MANY_DEAD_ROWS: Final = 20_000
MUCH_KEPT: Final = 10 * 10**9
MOST_PAGES: Final = 1000
MOST_PAGES_A_LANE: Final = 100
DUE_FOR: Final = timedelta(minutes=1)
SKEWED: Final = timedelta(seconds=1)
VERY_SKEWED: Final = timedelta(seconds=30)
MISSED_A_HEARTBEAT: Final = LEASE - HEARTBEAT * 1.5
# One that goes down in order counts no more as one that lives, and leaves when its agents have.
DRAINED: Final = timedelta(minutes=1)
# The reaper looks each second.
UNREAPED: Final = timedelta(seconds=10)
IS_OFF: Final = "off in the database, so a power cut loses tasks that were accepted: switch it on"


async def durability(connection: Connection) -> list[Finding]:
    """Whether a commit survives a power cut."""
    off = await settings_that_are_off(connection)
    if off:
        return [problem("durability", f"{' and '.join(off)}: {IS_OFF}.")]
    return [ok("durability", "What is committed survives a power cut.")]


async def snapshots(connection: Connection) -> list[Finding]:
    """Whether something keeps dead rows from being cleaned up."""
    found = [_snapshot(row) for row in await store.old_snapshots(connection, OLD)]
    found += [_prepared(row) for row in await store.prepared_transactions(connection, OLD)]
    found += [_slot(row) for row in await store.idle_slots(connection)]
    return found or [ok("snapshots", "Nothing old keeps dead rows from being cleaned up.")]


def _snapshot(row: Row) -> Finding:
    since = f"open for {in_words(row['age'])}" if row["age"] else f"{row['transactions']} transactions old"
    who = f"of {row['application_name'] or 'an unnamed program'} (user {row['user']}, pid {row['pid']}, {row['state']})"
    level = problem if row["age"] is None or row["age"] > VERY_OLD else warning
    return level(
        "snapshots",
        f"A transaction {who} is {since} and keeps dead rows in every table, so the queue gets slower: end it, "
        f"select pg_terminate_backend({row['pid']}), and let that program hold no transaction open.",
    )


def _prepared(row: Row) -> Finding:
    level = problem if row["age"] > VERY_OLD else warning
    return level(
        "snapshots",
        f"The prepared transaction {row['gid']!r} of {row['owner']} has waited for {in_words(row['age'])} and keeps "
        f"dead rows: commit prepared or rollback prepared '{row['gid']}'.",
    )


def _slot(row: Row) -> Finding:
    level = problem if row["kept_bytes"] > MUCH_KEPT or row["holds_rows"] else warning
    what = "dead rows and " if row["holds_rows"] else ""
    return level(
        "snapshots",
        f"Nobody reads the replication slot {row['name']}, and it keeps {what}{size_in_words(row['kept_bytes'])} of "
        f"log until the disk is full: start its reader, or select pg_drop_replication_slot('{row['name']}').",
    )


async def dead_rows(connection: Connection) -> list[Finding]:
    """Whether tables are cleaned up, and how far behind that is."""
    rows = await store.dead_rows(connection)
    found = []
    off = [row["name"] for row in rows if not row["cleaned_by_itself"]]
    if len(off) == len(rows):
        message = "autovacuum or track_counts is off, so dead rows are never cleaned up: switch it on."
        found.append(problem("dead rows", message))
    elif off:
        message = f"autovacuum is off for {', '.join(off)}: alter table … reset (autovacuum_enabled)."
        found.append(problem("dead rows", message))
    for row in rows:
        if row["dead"] > max(MANY_DEAD_ROWS, 2 * row["awaited"]):
            ago = f"was cleaned up {in_words(row['cleaned_ago'])} ago" if row["cleaned_ago"] else "was never cleaned up"
            found.append(
                warning(
                    "dead rows",
                    f"{row['name']} has {row['dead']} dead rows beside {row['live']} live ones, autovacuum waits for "
                    f"{row['awaited']}, and it {ago}: see what holds it back, then vacuum {row['name']}.",
                )
            )
    return found or [ok("dead rows", "They are cleaned up in time.")]


async def queue_index(connection: Connection) -> list[Finding]:
    """What a look for work costs, as every poll makes it."""
    lanes, pages = await store.pages_of_a_look(connection)
    if pages > MOST_PAGES + MOST_PAGES_A_LANE * lanes:
        return [
            warning(
                "queue index",
                f"A look for work reads {pages} pages to find {lanes} lanes: task_queue is full of dead entries; "
                "see what holds cleaning up back, then vacuum agent_tasks and reindex index concurrently task_queue.",
            )
        ]
    return [ok("queue index", f"A look for work reads {pages} pages.")]


async def connections(connection: Connection) -> list[Finding]:
    """Whether the database has connections left."""
    taken, most = await store.connections(connection)
    text = f"{taken} of {most} connections of the database are open"
    advice = "close some, or raise max_connections; without one left nothing can be accepted"
    if taken >= most * 0.95:
        return [problem("connections", f"{text}: {advice}.")]
    if taken >= most * 0.8:
        return [warning("connections", f"{text}: {advice}.")]
    return [ok("connections", f"{text}.")]


async def partitions(connection: Connection) -> list[Finding]:
    """Whether history finds its partition by day."""
    found = []
    for row in await store.default_partitions(connection):
        if row["rows"]:
            many = "more than 1000" if row["rows"] > 1000 else str(row["rows"])
            found.append(
                warning(
                    "partitions",
                    f"{row['parent']}_default has {many} rows of days that had no partition; they are not dropped with "
                    f"their day: delete or move them, and look into the log for why the loop `partitions` failed.",
                )
            )
        if not row["has_tomorrow"]:
            found.append(
                problem(
                    "partitions",
                    f"{row['parent']} has no partition for tomorrow: look into the log for why the loop "
                    "`partitions` fails.",
                )
            )
    return found or [ok("partitions", "The next days have theirs.")]


async def waiting_tasks(connection: Connection) -> list[Finding]:
    """The tasks that have been due for longest, and why."""
    found = []
    for row in await store.oldest_in_lanes(connection, DUE_FOR):
        rows = await task_store.explain(connection, row["id"])
        if rows and rows[0]["status"] == "pending":
            why = explain(facts_of(rows[0], await task_store.count_ahead(connection, row["id"])), candidates_of(rows))
            level = warning if why.held_by in (None, "no_free_slot", "suspect_running") else problem
            found.append(level("tasks", why.summary))
    return found or [ok("tasks", f"None has been due for more than {in_words(DUE_FOR)}.")]


async def dead_letters(connection: Connection) -> list[Finding]:
    """Whether tasks fail for good just now."""
    row = await store.dead_letters(connection)
    if row["recent"]:
        return [
            warning(
                "dead letters",
                f"{row['recent']} tasks failed for good in the last hour, most of type {row['type']}, {row['all']} in "
                "all: workstation tasks list --dead-letter, then redrive them.",
            )
        ]
    return [ok("dead letters", f"{row['all'] or 'None'}, none in the last hour.")]


async def instances(connection: Connection) -> list[Finding]:
    """Whether connected agents are heard in time."""
    rows = await store.late_instances(connection, LEASE, MISSED_A_HEARTBEAT)
    return [_late(row) for row in rows] or [ok("instances", "All that are connected are heard in time.")]


def _late(row: Row) -> Finding:
    text = f"An instance of {row['name']} ({row['id']}) was not heard for {in_words(row['silent_for'])}"
    if row["silent_for"] > LEASE + UNREAPED:
        advice = "look into the log for why the loop `reaper` fails"
        return problem("instances", f"{text}, and nobody takes its tasks back: {advice}.")
    return warning("instances", f"{text}: see whether its process hangs or its machine has lost its network.")


async def schema(connection: Connection) -> list[Finding]:
    """Whether the tables are those of this version."""
    there, ours = await schema_numbers(connection)
    if there < ours:
        text = f"The database has schema {there} and this server needs {ours}: restart this server."
        return [problem("schema", text)]
    if there > ours:
        text = f"A newer version has made the schema {there}, and this server is of schema {ours}: upgrade it too."
        return [warning("schema", text)]
    return [ok("schema", f"The database has schema {there}, that of this server.")]


async def replicas(connection: Connection) -> list[Finding]:
    """The replicas of this database: gone ones, their versions and their clocks."""
    rows = await store.nodes(connection)
    live = [row for row in rows if not row["gone"]]
    found = [
        problem(
            "replicas",
            f"The replica {_name(row)} went {in_words(row['gone_for'])} ago without leaving: start it again; "
            "agents it had started stay without one until then. A day later it is forgotten.",
        )
        for row in rows
        if row["gone"] and row["gone_for"] > DRAINED
    ]
    versions = sorted({row["version"] for row in live})
    if len(versions) > 1:
        found.append(warning("replicas", f"They run different versions ({', '.join(versions)}): finish the upgrade."))
    if not found:
        found.append(ok("replicas", f"{len(live)}, of version {versions[0]}." if versions else "None has joined yet."))
    return [*found, *_clocks(live)]


def _clocks(rows: Iterable[Row]) -> Iterator[Finding]:
    found = [finding for row in rows if row["clock_ahead_ms"] is not None and (finding := _clock(row)) is not None]
    yield from found or [ok("clocks", "Those of the replicas agree with the database's.")]


def _clock(row: Row) -> Finding | None:
    ahead, error = (timedelta(milliseconds=row[name] or 0) for name in ("clock_ahead_ms", "clock_error_ms"))
    off = abs(ahead) - error
    if off < SKEWED:
        return None
    level = problem if off > VERY_SKEWED else warning
    where = "ahead of" if ahead > timedelta() else "behind"
    return level(
        "clocks",
        f"The clock of {_name(row)} is {in_words(abs(ahead))} {where} the database's, by which leases and due times "
        "go; tokens end at the wrong time there: let both machines keep time by NTP.",
    )


def _name(row: Row) -> str:
    return str(row["url"] or row["id"])


CHECKS: Final[tuple[Check, ...]] = (
    durability,
    snapshots,
    dead_rows,
    queue_index,
    connections,
    partitions,
    waiting_tasks,
    dead_letters,
    instances,
    schema,
    replicas,
)


async def examine(connection: Connection) -> list[Finding]:
    """Every check, one after the other."""
    return [finding for check in CHECKS for finding in await check(connection)]
