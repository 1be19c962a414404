"""Leases: who has one keeps it, who is silent loses it, and who works without one is told."""

from __future__ import annotations

from collections import defaultdict

from tests.chaos.evidence import Evidence

LEASE_SECONDS = 15.0
HEARTBEAT_SECONDS = 5.0
# Outages from which the orchestrator itself comes back unharmed: agents are given time to be heard again.
DATABASE_OUTAGES = ("postgres-stop", "postgres-restart", "postgres-kill", "backend-kill", "database-cut")


def _processes(evidence: Evidence) -> dict[str, set[int]]:
    """The processes that were given work as each instance."""
    found: dict[str, set[int]] = defaultdict(set)
    for line in evidence.of("given"):
        found[line["instance"]].add(line["pid"])
    return found


def only_who_is_gone_loses_tasks(evidence: Evidence) -> list[str]:
    """An attempt is lost only where its agent was killed, frozen or cut off, never by an outage of the database."""
    pids = _processes(evidence)
    hit = {line["pid"] for line in evidence.of("agent hit") if line["how"] in ("killed", "frozen")}
    gone = hit | {line["pid"] for line in evidence.of("kills itself", "agent ended")}
    broken = []
    for attempt in evidence.attempts:
        if attempt.outcome != "lost" or not pids[attempt.instance] or pids[attempt.instance] & gone:
            continue
        assert attempt.ended_at is not None
        if not _cut_off(evidence, attempt.ended_at):
            broken.append(f"attempt {attempt.attempt} of task {attempt.task} was lost, and its agent was there")
    return broken


def who_was_there_keeps_its_instance(evidence: Evidence) -> list[str]:
    """A process that lived on is given work as the same instance, however long the database was away."""
    gone = {line["pid"] for line in evidence.of("agent hit", "kills itself", "agent ended") if "pid" in line.about}
    latest: dict[int, str] = {}
    broken = []
    for line in sorted(evidence.of("given"), key=lambda line: line.at):
        pid, instance = line["pid"], line["instance"]
        before = latest.setdefault(pid, instance)
        latest[pid] = instance
        if before != instance and pid not in gone and not _cut_off(evidence, line.wall):
            broken.append(f"process {pid} was there all the time as {before}, and had to come again as {instance}")
    return broken


def _cut_off(evidence: Evidence, at: float) -> bool:
    """Whether agents may have been without a server for longer than a lease, or than the grace of a socket."""
    reach = LEASE_SECONDS + 8 + evidence.slack
    return any(
        window.begin_wall - 1 <= at <= window.end_wall + reach
        for window in (*evidence.outages, *evidence.windows)
        if window.name not in (*DATABASE_OUTAGES, "agent-kill", "agent-crash-loop", "agent-freeze")
    )


def who_was_silent_too_long_comes_back_as_another(evidence: Evidence) -> list[str]:
    """After more silence than a lease lasts an agent is given work only as a new instance."""
    hits = [line for line in evidence.of("agent hit") if line["how"] == "frozen"]
    thaws = [window for window in evidence.windows if window.name == "agent-freeze"]
    broken = []
    for hit in hits:
        thaw = next((window for window in thaws if window.begin <= hit.at <= window.end), None)
        if thaw is None or thaw.end - hit.at < LEASE_SECONDS + 3 or _server_away(evidence, hit.wall, thaw.end_wall):
            continue
        given = [line for line in evidence.of("given") if line["pid"] == hit["pid"]]
        before = {line["instance"] for line in given if line.at < hit.at}
        # What had been sent to it lies in its socket still.
        after = {line["instance"] for line in given if thaw.end + 3 + evidence.slack < line.at}
        broken += [
            f"instance {instance} was silent for {thaw.end - hit.at:.0f} s and was given work as before"
            for instance in sorted(before & after)
        ]
    return broken


def _server_away(evidence: Evidence, begin: float, end: float) -> bool:
    return any(w.begin_wall - 1 < end and w.end_wall + 8 + evidence.slack > begin for w in evidence.outages)


def what_was_never_delivered_does_not_run_out_of_time(evidence: Evidence) -> list[str]:
    """A claim that did not reach its agent is sent again after two heartbeats, long before it times out."""
    pids = _processes(evidence)
    given = {(line["task"], line["attempt"]) for line in evidence.of("given")}
    gone = {line["pid"] for line in evidence.of("agent hit", "kills itself", "agent ended") if "pid" in line.about}
    return [
        f"attempt {attempt.attempt} of task {attempt.task} timed out and was never given to its agent"
        for attempt in evidence.attempts
        if attempt.outcome == "timed_out"
        and (attempt.task, attempt.attempt) not in given
        and pids[attempt.instance]
        and not pids[attempt.instance] & gone
        and attempt.deadline_at - attempt.claimed_at > 2 * HEARTBEAT_SECONDS + evidence.slack + 3
        and not _server_away(evidence, attempt.claimed_at, attempt.deadline_at)
    ]


def who_works_on_a_cancelled_task_is_told(evidence: Evidence) -> list[str]:
    """An agent whose task is cancelled is told to stop within a heartbeat, if it does not report first."""
    pids = _processes(evidence)
    gone = {line["pid"] for line in evidence.of("agent hit", "kills itself", "agent ended") if "pid" in line.about}
    told: dict[tuple[int, str], float] = {}
    for line in evidence.of("told to stop", "told"):
        told.setdefault((line["task"], line["instance"]), line.wall)
    given = {(line["task"], line["attempt"], line["instance"]): line.wall for line in evidence.of("given")}
    ends = max((line.wall for line in evidence.lines), default=0.0)
    broken = []
    for attempt in evidence.attempts:
        key = (attempt.task, attempt.attempt, attempt.instance)
        if attempt.outcome != "cancelled" or attempt.ended_at is None or key not in given:
            continue
        soon = attempt.ended_at + HEARTBEAT_SECONDS + evidence.slack
        if pids[attempt.instance] & gone or soon > ends or _server_away(evidence, attempt.ended_at, soon):
            continue
        if told.get((attempt.task, attempt.instance), soon + 1) > soon:
            broken.append(f"nobody told instance {attempt.instance} that task {attempt.task} was cancelled")
    return broken


def no_task_starts_before_it_is_due(evidence: Evidence) -> list[str]:
    """A task for later waits. What was tried again waits for a time that its row does not tell any more."""
    return [
        f"attempt {attempt.attempt} of task {task.id} was claimed {task.run_at - attempt.claimed_at:.2f} s too early"
        for task in evidence.tasks.values()
        if task.retry_count == 0 and not any(c.type == "task.redriven" for c in evidence.changes_of.get(task.id, ()))
        for attempt in evidence.attempts_of.get(task.id, ())
        if attempt.claimed_at < task.run_at - 0.001 and attempt.outcome != "released"
    ]
