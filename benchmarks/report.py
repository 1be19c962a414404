"""The run as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from benchmarks.goals import COMPARISONS, GOALS, LIMIT, OURS, Comparison
from benchmarks.limit.participant import SHAPES
from benchmarks.results import Results, Spread, cores, micros, rate, value

LIMITED_PHASES = ("enqueue", "bulk", "drain", "whole_single", "whole_batch")
SIDES = ("postgres", "server", "agent", "worker", "submitter")


def markdown(results: Results) -> str:
    """The whole report; sections without numbers are left out."""
    sections = (_head(results), _limit(results), _comparison(results), _goals(results), _busy(results))
    return "\n".join(line for section in sections for line in section)


def _head(results: Results) -> Iterator[str]:
    machine, rounds = results.machine, max((len(samples) for samples in results.samples.values()), default=0)
    yield "# Benchmark results\n"
    yield "Numbers differ from machine to machine: compare the ratios of one run, never the numbers of two.\n"
    yield (
        f"Machine: {machine['cores']} cores ({machine['processor']}), {machine['memory']} memory, "
        f"Linux {machine['kernel']}, Python {machine['python']}. Payload 200 bytes, no-op handler, fsync and "
        f"synchronous_commit on. Interleaved rounds: {rounds}, in {results.seconds:.0f} s; each cell is the "
        f"median (least–greatest). Meanwhile other programs used {results.others_percent:.0f} % of the "
        f"machine, the hypervisor {results.stolen_percent:.0f} %.\n"
    )
    yield from _table(
        ["participant", "version", "configuration, and what it keeps"],
        ([name, results.versions[name], results.notes[name]] for name in results.samples),
    )
    for name, reason in results.absent.items():
        yield f"Not measured: {name}. {reason}\n"


def _limit(results: Results) -> Iterator[str]:
    if LIMIT not in results.samples:
        return
    yield "## What PostgreSQL itself allows\n"
    rows = []
    for shape in SHAPES:
        steps = " / ".join(
            _cell(results.spread(LIMIT, value(f"{step}_{shape.name}_per_s")), bare=True)
            for step in ("insert", "claim", "complete")
        )
        phase = f"lives_{shape.name}"
        rows.append([
            f"{shape.batch} a transaction, {shape.connections} connections",
            _cell(results.spread(LIMIT, rate(phase))),
            steps,
            _cell(results.spread(LIMIT, micros("postgres", phase))),
            _cell(results.spread(LIMIT, micros("client", phase))),
        ])  # fmt: skip
    yield from _table(
        ["rows", "lives/s", "insert / claim / complete per s", "PostgreSQL µs a life", "client µs a life"],
        rows,
    )


def _comparison(results: Results) -> Iterator[str]:
    names = [name for name in results.samples if name != LIMIT]
    if not names:
        return
    yield "## Beside the peers\n"
    ratio = ["ours ÷ best peer"] if OURS in names else []
    rows = ([row.title, *_comparison_row(results, row, names)] for row in COMPARISONS)
    yield from _table(["", *names, *ratio], (row for row in rows if any(cell != "–" for cell in row[1:])))


def _comparison_row(results: Results, row: Comparison, names: list[str]) -> list[str]:
    spreads = {name: results.spread(name, row.reading) for name in names}
    cells = [_cell(spreads[name]) for name in names]
    if OURS not in names:
        return cells
    ours = spreads.pop(OURS)
    peers = [spread.median for spread in spreads.values() if spread]
    if ours is None or not peers:
        return [*cells, "–"]
    best = max(peers) if row.more_is_better else min(peers)
    return [*cells, f"{ours.median / best:.2f}×"]


def _goals(results: Results) -> Iterator[str]:
    if OURS not in results.samples:
        return
    yield "## Goals\n"
    rows = []
    for goal in GOALS:
        spread = results.spread(OURS, goal.reading)
        verdict = "not measured" if spread is None else "met" if goal.is_met(spread.median) else "missed"
        bound = f"{'≥' if goal.at_least else '≤'} {_number(goal.bound)}"
        rows.append([goal.title, bound, _cell(spread), verdict])
    yield from _table(["", "goal", "measured", ""], rows)


def _busy(results: Results) -> Iterator[str]:
    names = [name for name in results.samples if name != LIMIT]
    if not names:
        return
    yield "## What limits each: cores kept busy\n"
    rows = []
    for phase in LIMITED_PHASES:
        cells = [_sides(results, name, phase) for name in names]
        if any(cell != "–" for cell in cells):
            rows.append([phase.replace("_", " "), *cells])
    yield from _table(["", *names], rows)


def _sides(results: Results, name: str, phase: str) -> str:
    found = {side: spread.median for side in SIDES if (spread := results.spread(name, cores(side, phase)))}
    return ", ".join(f"{side} {busy:.2f}" for side, busy in found.items()) or "–"


def _cell(spread: Spread | None, *, bare: bool = False) -> str:
    if spread is None:
        return "–"
    if bare or spread.least == spread.greatest:
        return _number(spread.median)
    return f"{_number(spread.median)} ({_number(spread.least)}–{_number(spread.greatest)})"


def _number(number: float) -> str:
    return f"{number:,.0f}" if abs(number) >= 100 else f"{number:.3g}"


def _table(head: list[str], rows: Iterable[list[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"
    yield ""
