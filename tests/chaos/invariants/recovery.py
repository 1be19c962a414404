"""Recovery: everything comes back within its bound, and nothing stays behind."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from tests.chaos.evidence import Evidence, Window
from tests.chaos.recorder import Line

UNLEASED_SECONDS = 5.0
OVERDUE_SECONDS = 5.0
# The reaper waits for this long after an outage, until it can tell who is gone.
REAPER_PAUSE_SECONDS = 8.0
SOCKET_CLOSED_SECONDS = 5.0
SILENT_SECONDS = 20.0
FLOW_SECONDS = 10.0
FAILOVER_SECONDS = 5.0
REFUSAL_SECONDS = 2.0
STOP_SECONDS = 25.0
GROWTH_MIB = 96.0
MOST_LINKS = 24
GROWTH_FILES = 90
DATABASE_AWAY = ("postgres-stop", "database-black-hole")


@dataclass(frozen=True)
class Measured:
    """How long something took, and how long it may."""

    what: str
    seconds: float
    bound: float


def measurements(evidence: Evidence) -> list[Measured]:
    """All recovery times of a run."""
    return [
        *_agents_gone(evidence),
        *_flows(evidence),
        *_failovers(evidence),
        *_refusals(evidence),
        *_stops(evidence),
    ]


def _late(evidence: Evidence, measured: Iterator[Measured]) -> list[str]:
    return [
        f"{m.what} took {m.seconds:.1f} s, promised are {m.bound:.0f} s (allowed here: {evidence.slack:.1f} s more)"
        for m in measured
        if m.seconds > m.bound + evidence.slack
    ]


def _calm(evidence: Evidence, begin: float, end: float) -> bool:
    """Whether no outage was near between these instants of the wall clock."""
    return not any(
        w.begin_wall < end and w.end_wall + REAPER_PAUSE_SECONDS + evidence.slack > begin for w in evidence.outages
    )


def nothing_runs_without_a_lease(evidence: Evidence) -> list[str]:
    """No task is seen running without a live lease, or past its deadline, for longer than the reaper may need."""
    return [
        *_stuck(evidence, "unleased", UNLEASED_SECONDS, "without a live lease"),
        *_stuck(evidence, "overdue", OVERDUE_SECONDS, "past its deadline"),
    ]


def _stuck(evidence: Evidence, kind: str, bound: float, how: str) -> list[str]:
    since: dict[tuple[int, int], float] = {}
    worst: dict[tuple[int, int], float] = {}
    for line in sorted(evidence.of("stuck", "database not seen"), key=lambda line: line.at):
        pause = REAPER_PAUSE_SECONDS + evidence.slack
        if line.what == "database not seen" or any(w.begin <= line.at <= w.end + pause for w in evidence.outages):
            since.clear()
            continue
        seen = {(task, attempt) for task, attempt in line.about[kind]}
        since = {key: since.get(key, line.at) for key in seen}
        for key, begin in since.items():
            worst[key] = max(worst.get(key, 0.0), line.at - begin)
    return [
        f"attempt {attempt} of task {task} was running {how} for {seconds:.1f} s"
        for (task, attempt), seconds in worst.items()
        if seconds > bound + evidence.slack
    ]


def tasks_of_an_agent_that_is_gone_are_claimable_soon(evidence: Evidence) -> list[str]:
    """5 s after its socket closed, 20 s after it fell silent."""
    return _late(evidence, _agents_gone(evidence))


def _agents_gone(evidence: Evidence) -> Iterator[Measured]:
    instances: dict[int, set[str]] = defaultdict(set)
    for line in evidence.of("given"):
        instances[line["pid"]].add(line["instance"])
    ended = {line["pid"]: line.wall for line in evidence.of("agent ended")}
    for line in evidence.of("agent hit"):
        if line["how"] not in ("killed", "frozen"):
            continue
        # One that pulls has no socket whose end could tell.
        by_socket = line["how"] == "killed" and not line["name"].startswith("pull")
        bound = SOCKET_CLOSED_SECONDS if by_socket else SILENT_SECONDS
        if not _calm(evidence, line.wall, line.wall + bound + evidence.slack):
            continue
        gone_at = ended.get(line["pid"], line.wall) if line["how"] == "killed" else line.wall
        lost = [
            attempt.ended_at - gone_at
            for attempt in evidence.attempts
            if attempt.outcome == "lost" and attempt.instance in instances[line["pid"]] and attempt.ended_at is not None
        ]
        if lost and max(lost) > 0:
            yield Measured(f"{line['name']} {line['how']}: its tasks claimable", max(lost), bound)


def tasks_flow_again_after_an_outage(evidence: Evidence) -> list[str]:
    """Within 10 s after the orchestrator was started again, or the database came back."""
    return _late(evidence, _flows(evidence))


def _flows(evidence: Evidence) -> Iterator[Measured]:
    claimed = sorted(a.claimed_at for a in evidence.attempts if a.outcome == "completed")
    starts = [line.wall for line in evidence.of("orchestrator started")]
    for window in evidence.windows:
        if not window.outage:
            continue
        # An orchestrator is back when its process runs again; the database, when it answers.
        restarted = [at for at in starts if window.begin_wall <= at <= window.end_wall + 1]
        back = restarted[-1] if restarted and window.name.startswith("orchestrator") else window.end_wall
        later = [at for at in claimed if at > back]
        if later and _had_work(evidence, back) and evidence.had_time(back, later[0]):
            yield Measured(f"{window.name}: tasks flow again", later[0] - back, FLOW_SECONDS)


def _had_work(evidence: Evidence, at: float) -> bool:
    """Whether clients still submitted: without work nothing can flow."""
    return any(line.wall > at + 1 for line in evidence.of("accepted"))


def tasks_flow_on_while_one_replica_is_away(evidence: Evidence) -> list[str]:
    """With a second replica tasks flow on as soon as agents have moved over."""
    return _late(evidence, _failovers(evidence))


def _failovers(evidence: Evidence) -> Iterator[Measured]:
    claimed = sorted(a.claimed_at for a in evidence.attempts if a.outcome == "completed")
    for window in evidence.windows:
        if window.name not in ("replica-down", "replica-freeze") or not _had_work(evidence, window.end_wall):
            continue
        inside = [at for at in claimed if window.begin_wall <= at <= window.end_wall]
        marks = [window.begin_wall, *inside, window.end_wall]
        if not evidence.had_time(window.begin_wall, window.end_wall):
            continue
        gap = max(later - earlier for earlier, later in pairwise(marks))
        yield Measured(f"{window.name}: the longest pause", gap, FAILOVER_SECONDS)


def without_its_database_it_refuses_in_time(evidence: Evidence) -> list[str]:
    """503 within 2 s, never silence, never a success."""
    broken = _late(evidence, _refusals(evidence))
    for window in _away(evidence):
        broken += [
            f"{line['method']} {line['path']} was answered {line['status']} while the database was away"
            for line in _asked_during(evidence, window)
            if line["status"] != 503
        ]
    return broken


def _away(evidence: Evidence) -> list[Window]:
    """Windows in which no orchestrator reached its database. It takes a moment to go."""
    names = ("postgres-stop",) if evidence.replicas > 1 else DATABASE_AWAY
    return [window for window in evidence.windows if window.name in names]


def _asked_during(evidence: Evidence, window: Window) -> Iterator[Line]:
    return (
        line
        for line in evidence.of("answered")
        if not line["waits"]
        and line["path"] != "/health"
        and window.begin + 1.0 < line.at - line["seconds"]
        and line.at < window.end - 0.7
    )


def _refusals(evidence: Evidence) -> Iterator[Measured]:
    for window in _away(evidence):
        asked = _asked_during(evidence, window)
        times = [line["seconds"] for line in asked if evidence.was_punctual(line.at - line["seconds"], line.at)]
        times += _silences(evidence, window)
        if times and evidence.had_time(window.begin_wall, window.end_wall):
            yield Measured(f"{window.name}: the slowest refusal", max(times), REFUSAL_SECONDS)


def _silences(evidence: Evidence, window: Window) -> Iterator[float]:
    """How long each request waited within the window that its client gave up in the end."""
    for line in evidence.of("no answer"):
        asked = line.at - line["seconds"]
        if line["method"] == "POST" and "ReadTimeout" in line["why"] and window.begin + 1.0 < asked < window.end:
            yield min(line.at, window.end) - asked


def memory_and_connections_return(evidence: Evidence) -> list[str]:
    """After healing an orchestrator holds about as much as before."""
    begin: dict[tuple[int, int], tuple[float, int, int]] = {}
    broken = []
    for line in evidence.of("holds"):
        key = (line["replica"], line["pid"])
        now = (line["mib"], line["files"], line["links"])
        if line["when"] != "at the end":
            # What it is like once it has begun to work.
            if key not in begin or line["when"] == "at the beginning":
                begin[key] = now
            continue
        if key in begin and now[0] - begin[key][0] > GROWTH_MIB:
            broken.append(f"orchestrator {key[0]} grew from {begin[key][0]:.0f} to {now[0]:.0f} MiB")
        if now[2] > MOST_LINKS:
            broken.append(f"orchestrator {key[0]} holds {now[2]} connections to the database")
        if key in begin and now[1] - begin[key][1] > GROWTH_FILES:
            broken.append(f"orchestrator {key[0]} held {begin[key][1]} files at first, and holds {now[1]}")
    return broken


def a_stop_is_graceful(evidence: Evidence) -> list[str]:
    """On SIGTERM it ends with 0 and in time."""
    broken = _late(evidence, _stops(evidence))
    return broken + [
        f"orchestrator {line['replica']} ended with {line['code']}"
        for line in evidence.of("stopped")
        if line["code"] != 0
    ]


def _stops(evidence: Evidence) -> Iterator[Measured]:
    for line in evidence.of("stopped", "terminated"):
        if not evidence.had_time(line.wall - line["seconds"], line.wall):
            continue
        yield Measured(f"SIGTERM to orchestrator {line['replica']}: gone", line["seconds"], STOP_SECONDS)


def no_process_is_left_behind(evidence: Evidence) -> list[str]:
    """When all is over, no process of ours lives."""
    return [f"process {line['pid']} is left behind: {line['command']}" for line in evidence.of("left behind")]
