"""What the run compares, and what Workstation wants to reach on a two-core machine."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.results import Reading, micros, rate, value

LIMIT, OURS = "postgres_limit", "workstation"


@dataclass(frozen=True)
class Comparison:
    """A row of the peers' table. `more_is_better` decides which peer is the best."""

    title: str
    reading: Reading
    more_is_better: bool = False


@dataclass(frozen=True)
class Goal:
    """A goal of ours: a reading and the bound it should keep."""

    title: str
    reading: Reading
    bound: float
    at_least: bool = False

    def is_met(self, measured: float) -> bool:
        """Whether that measurement keeps the bound."""
        return measured >= self.bound if self.at_least else measured <= self.bound


COMPARISONS = (
    Comparison("enqueue one by one, tasks/s", rate("enqueue"), more_is_better=True),
    Comparison("enqueue in bulk, tasks/s", rate("bulk"), more_is_better=True),
    Comparison("drain, one worker process, tasks/s", rate("drain"), more_is_better=True),
    Comparison("pickup p50, submit → handler, ms", value("pickup_p50_ms")),
    Comparison("pickup p95, ms", value("pickup_p95_ms")),
    Comparison("pickup p99, ms", value("pickup_p99_ms")),
    Comparison("PostgreSQL CPU, enqueue one by one, µs a task", micros("postgres", "enqueue")),
    Comparison("PostgreSQL CPU, drain, µs a task", micros("postgres", "drain")),
    Comparison("PostgreSQL CPU, life (bulk + drain), µs a task", micros("postgres", "bulk", "drain")),
    Comparison("submitter CPU, enqueue one by one, µs a task", micros("submitter", "enqueue")),
    Comparison(
        "worker or agent CPU, drain, µs a task",
        lambda s: micros("worker", "drain")(s) or micros("agent", "drain")(s),
    ),
    Comparison("server CPU, enqueue one by one, µs a task", micros("server", "enqueue")),
    Comparison("server CPU, drain, µs a task", micros("server", "drain")),
    Comparison("worker or agent memory after the drain, MB", value("worker_memory_mb")),
    Comparison("server memory after the drain, MB", value("server_memory_mb")),
)

GOALS = (
    Goal("tasks/s drained from a backlog by one agent process", rate("drain"), 15_000, at_least=True),
    Goal("tasks/s from single POST to settled, 64 connections", rate("whole_single"), 6_000, at_least=True),
    Goal("tasks/s from batch POST (100) to settled", rate("whole_batch"), 15_000, at_least=True),
    Goal("single POSTs/s, 64 connections, keyed", rate("enqueue"), 7_000, at_least=True),
    Goal("server CPU for a single POST, µs", micros("server", "enqueue"), 90),
    Goal("pickup after the answer, p50, ms", value("pickup_answered_p50_ms"), 2),
    Goal("pickup after the answer, p99, ms", value("pickup_answered_p99_ms"), 6),
    Goal(
        "PostgreSQL CPU for a life, single POSTs with a waiting agent, µs",
        micros("postgres", "whole_single"),
        45,
    ),
    Goal(
        "PostgreSQL CPU for a life, batch POSTs with a waiting agent, µs",
        micros("postgres", "whole_batch"),
        45,
    ),
    Goal("PostgreSQL CPU for a life, queued in bulk and claimed, µs", micros("postgres", "bulk", "drain"), 60),
    Goal("server CPU with 1,000 idle agents, % of a core", value("idle_server_percent"), 5),
    Goal("server memory with 1,000 idle agents, MB", value("idle_server_memory_mb"), 150),
    Goal("`up` to ready on a second start, s", value("second_start_s"), 3),
)
