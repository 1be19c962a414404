from benchmarks.goals import GOALS
from benchmarks.report import markdown
from benchmarks.results import Results, cores, micros, rate, value
from benchmarks.sample import Phase, Sample

MACHINE = {"cores": "2", "processor": "x", "memory": "4 GiB", "kernel": "6", "python": "3.11"}


def results_of(**samples: list[Sample]) -> Results:
    results = Results(MACHINE)
    for name, taken in samples.items():
        results.versions[name], results.notes[name] = "1.0", "as documented"
        for sample in taken:
            results.add(name, sample)
    return results


def drained(tasks: int, seconds: float) -> Sample:
    return Sample(phases={"drain": Phase(tasks, seconds, {"postgres": 0.5, "worker": 1.0})})


def test_a_reading_is_the_median_with_its_range_over_the_rounds() -> None:
    results = results_of(pgqueuer=[drained(100, 1.0), drained(300, 1.0), drained(200, 1.0)])
    spread = results.spread("pgqueuer", rate("drain"))
    assert spread is not None
    assert (spread.median, spread.least, spread.greatest) == (200, 100, 300)


def test_processor_time_is_told_a_task_and_as_busy_cores() -> None:
    sample = drained(1_000, 2.0)
    assert micros("postgres", "drain")(sample) == 500
    assert cores("worker", "drain")(sample) == 0.5


def test_a_number_that_a_participant_does_not_have_is_none_and_never_zero() -> None:
    sample = drained(1, 1.0)
    assert rate("bulk")(sample) is None
    assert micros("server", "drain")(sample) is None
    assert micros("postgres", "bulk", "drain")(sample) is None
    assert value("pickup_p50_ms")(sample) is None


def test_the_ratio_is_taken_against_the_best_peer_in_the_better_direction() -> None:
    slow, fast, ours = Sample(), Sample(), Sample()
    slow.values["pickup_p50_ms"], fast.values["pickup_p50_ms"], ours.values["pickup_p50_ms"] = 8.0, 4.0, 2.0
    text = markdown(results_of(procrastinate=[slow], pgqueuer=[fast], workstation=[ours]))
    assert "| pickup p50, submit → handler, ms | 8 | 4 | 2 | 0.50× |" in text


def test_a_goal_is_met_missed_or_not_measured() -> None:
    ours = Sample(phases={"drain": Phase(10_000, 1.0, {"postgres": 0.1})}, values={"second_start_s": 2.0})
    text = markdown(results_of(workstation=[ours]))
    assert "| ≥ 15,000 | 10,000 | missed |" in text
    assert "| ≤ 3 | 2 | met |" in text
    assert text.count("not measured") == len(GOALS) - 2


def test_an_absent_participant_is_named_with_its_reason() -> None:
    results = results_of(pgqueuer=[drained(1, 1.0)])
    results.absent["oban"] = "oban needs Python 3.12 or later"
    assert "Not measured: oban. oban needs Python 3.12 or later" in markdown(results)
