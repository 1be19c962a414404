"""All samples of a run, and the medians and ranges the report shows."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.sample import Sample

# Reads one number from a sample, or None where that participant has no such number.
Reading = Callable[[Sample], float | None]


@dataclass(frozen=True)
class Spread:
    """Median, least and greatest over the rounds."""

    median: float
    least: float
    greatest: float


@dataclass
class Results:
    """Who took part (name → version and note), who did not and why, and every sample in the order taken."""

    machine: dict[str, str]
    versions: dict[str, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    samples: dict[str, list[Sample]] = field(default_factory=dict)
    others_percent: float = 0.0
    stolen_percent: float = 0.0
    seconds: float = 0.0

    def add(self, name: str, sample: Sample) -> None:
        """Keeps one participant's turn."""
        self.samples.setdefault(name, []).append(sample)

    def spread(self, name: str, reading: Reading) -> Spread | None:
        """The reading over all of a participant's turns, or None where it has none."""
        found = [value for sample in self.samples.get(name, []) if (value := reading(sample)) is not None]
        return Spread(statistics.median(found), min(found), max(found)) if found else None

    def write_lines(self, file: Path) -> None:
        """Writes one JSON line for each turn, the machine in each."""
        with file.open("w") as lines:
            for name, samples in self.samples.items():
                for number, sample in enumerate(samples):
                    line = {
                        "participant": name,
                        "version": self.versions[name],
                        "round": number,
                        "machine": self.machine,
                    }
                    lines.write(json.dumps(line | sample.as_json()) + "\n")


def rate(phase: str) -> Reading:
    """Tasks a second of a phase."""
    return lambda sample: sample.phases[phase].rate if phase in sample.phases else None


def micros(side: str, *phases: str) -> Reading:
    """Processor microseconds a task on one side, summed over phases that together make one life."""

    def read(sample: Sample) -> float | None:
        if any(phase not in sample.phases or side not in sample.phases[phase].cpu for phase in phases):
            return None
        return sum(sample.phases[phase].micros(side) for phase in phases)

    return read


def cores(side: str, phase: str) -> Reading:
    """How many cores a side kept busy during a phase."""

    def read(sample: Sample) -> float | None:
        found = sample.phases.get(phase)
        return found.cpu[side] / found.seconds if found and side in found.cpu else None

    return read


def value(name: str) -> Reading:
    """A single value."""
    return lambda sample: sample.values.get(name)
