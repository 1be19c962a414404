"""Reports of runs: for the terminal, and as markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from tests.chaos.invariants.recovery import measurements
from tests.chaos.run import Result

SHOWN = 10


def summary(result: Result) -> str:
    """A few lines for the terminal."""
    verdict = "all invariants hold" if result.holds else "BROKEN"
    lines = [f"seed {result.plan.seed}: {verdict} ({_faults(result)}; {_states(result)}; {result.seconds:.0f} s)"]
    lines += [f"  SKIPPED {line['name']}: {line['why']}" for line in result.evidence.of("fault skipped")]
    if result.evidence.starved_seconds:
        lines.append(
            f"  the machine was too busy for {result.evidence.starved_seconds:.1f} s: times near are not judged"
        )
    for title, broken in result.verdicts.items():
        lines += [f"  broken: {title}: {sentence}" for sentence in broken[:SHOWN]]
        if len(broken) > SHOWN:
            lines.append(f"  broken: {title}: and {len(broken) - SHOWN} more")
    return "\n".join(lines)


def markdown(results: Sequence[Result]) -> str:
    """The report of many runs."""
    good = sum(result.holds for result in results)
    worst = _worst(results)
    parts = [
        "# Fault suite: the long form",
        f"{len(results)} seeds, every invariant holds in {good}. "
        f"{sum(len(result.evidence.tasks) for result in results)} tasks, "
        f"{sum(len(result.evidence.attempts) for result in results)} attempts, "
        f"{sum(len(result.plan.faults) for result in results)} faults.",
        "## Recovery, the slowest of all seeds",
        "\n".join(["| what | slowest | bound | times measured |", "|---|---|---|---|", *worst]),
        *(_one(result) for result in results),
    ]
    return "\n\n".join(parts) + "\n"


def _worst(results: Sequence[Result]) -> list[str]:
    measured: dict[tuple[str, float], list[float]] = {}
    for result in results:
        for m in measurements(result.evidence):
            measured.setdefault((m.what, m.bound), []).append(m.seconds)
    return [
        f"| {what} | {max(times):.2f} s | {bound:.0f} s | {len(times)} |"
        for (what, bound), times in sorted(measured.items())
    ]


def _one(result: Result) -> str:
    plan = result.plan
    skipped = [f"- **skipped: {line['name']}**: {line['why']}" for line in result.evidence.of("fault skipped")]
    return "\n".join(
        [
            f"## Seed {plan.seed}: {plan.replicas} {'replicas' if plan.replicas > 1 else 'replica'}, "
            f"{plan.seconds:.0f} s of load {plan.load!r}, {'holds' if result.holds else 'BROKEN'}",
            "",
            f"- faults: {_faults(result)}",
            *skipped,
            f"- machine too busy to judge times: {result.evidence.starved_seconds:.1f} s",
            f"- tasks: {_states(result)}",
            f"- attempts: {_outcomes(result)}",
            f"- recovery: {_measured(result) or 'nothing to measure'}",
            *_verdicts(result),
        ]
    )


def _verdicts(result: Result) -> Iterator[str]:
    held = [title for title, broken in result.verdicts.items() if not broken]
    yield f"- holds: {'; '.join(held)}"
    for title, broken in result.verdicts.items():
        if broken:
            yield f"- **broken: {title}**"
            yield from (f"  - {sentence}" for sentence in broken[:SHOWN])


def _faults(result: Result) -> str:
    counted = Counter(window.name for window in result.evidence.windows)
    return ", ".join(f"{name} ×{times}" if times > 1 else name for name, times in counted.items()) or "no faults"


def _states(result: Result) -> str:
    counted = Counter(task.status for task in result.evidence.tasks.values())
    poison = sum(
        isinstance(task.error, dict) and task.error.get("type") == "poison" and task.status == "failed"
        for task in result.evidence.tasks.values()
    )
    return ", ".join(f"{n} {state}" for state, n in sorted(counted.items())) + (f" ({poison} poison)" if poison else "")


def _outcomes(result: Result) -> str:
    counted = Counter(str(attempt.outcome) for attempt in result.evidence.attempts)
    return ", ".join(f"{n} {outcome}" for outcome, n in sorted(counted.items()))


def _measured(result: Result) -> str:
    return "; ".join(f"{m.what} {m.seconds:.2f} s of {m.bound:.0f} s" for m in measurements(result.evidence))
