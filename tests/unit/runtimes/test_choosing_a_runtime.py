"""Which runtime an agent's registration asks for, and what is refused."""

import sys
from pathlib import Path
from typing import Any

import pytest

from workstation.runtimes.commands import inherited, limits_of, resolve, search_path_of
from workstation.runtimes.driver import Limits, RuntimeFailure
from workstation.runtimes.fake import FakeDriver, FakeMachine
from workstation.runtimes.table import (
    DRIVERS,
    DriverSettings,
    driver_named,
    make_drivers,
    runtime_of,
)


@pytest.mark.parametrize(
    ("run", "container", "runtime"),
    [
        ({"builtin": "browser"}, None, "process"),
        ({"command": ["python", "-m", "x"]}, None, "process"),
        ({"command": ["x"]}, "old-container", "process"),
        ({"image": "registry.example/auditor:1"}, None, "docker"),
        (None, "old-container", "docker"),
        ({}, "old-container", "docker"),
        (None, None, "external"),
        ({}, None, "external"),
    ],
)
def test_the_runtime_follows_from_run_and_container_name(
    run: dict[str, Any] | None, container: str | None, runtime: str
) -> None:
    assert runtime_of(run, container) == runtime


@pytest.mark.parametrize("run", [{"builtin": "a", "command": ["b"]}, {"cwd": "/"}, {"image": "a", "builtin": "b"}])
def test_a_spec_that_names_no_way_or_several_is_refused(run: dict[str, Any]) -> None:
    with pytest.raises(RuntimeFailure, match="exactly one") as refusal:
        runtime_of(run, None)
    assert not refusal.value.retryable


def test_containers_are_refused_with_what_is_missing() -> None:
    drivers = make_drivers(DriverSettings({}))
    for run, container in (({"image": "a"}, None), (None, "old-container")):
        with pytest.raises(RuntimeFailure, match="container runtime driver is not part of this version") as refusal:
            driver_named(drivers, runtime_of(run, container))
        assert not refusal.value.retryable


def test_every_driver_of_the_table_bears_its_name() -> None:
    drivers = make_drivers(DriverSettings({}))
    assert {name: driver.name for name, driver in drivers.items()} == {name: name for name in DRIVERS}


def test_a_fake_can_stand_in_for_a_driver() -> None:
    fake = FakeDriver(FakeMachine({}))
    assert driver_named({"process": fake}, "process") is fake
    with pytest.raises(RuntimeFailure, match="known are process"):
        driver_named({"process": fake}, "zeppelin")


def test_a_builtin_runs_in_our_interpreter() -> None:
    assert resolve({"builtin": "browser"}, "").argv == (sys.executable, "-m", "workstation.agents", "browser")


@pytest.mark.parametrize(
    ("run", "sentence"),
    [
        ({"builtin": "../x"}, "built-in agent"),
        ({"builtin": 3}, "built-in agent"),
        ({"command": []}, "list of words"),
        ({"command": "ls -l"}, "list of words"),
        ({"command": ["ls", 3]}, "list of words"),
        ({"command": ["ls"], "cwd": "/no/such/folder"}, "/no/such/folder"),
        ({"command": ["ls"], "env": {"A": 1}}, "names to texts"),
        ({"command": ["/no/such/program"]}, "/no/such/program"),
    ],
)
def test_a_malformed_spec_is_refused_by_name(run: dict[str, Any], sentence: str) -> None:
    with pytest.raises(RuntimeFailure, match=sentence) as refusal:
        resolve(run, "/usr/bin:/bin")
    assert not refusal.value.retryable


def test_a_plain_word_python_is_our_interpreter() -> None:
    found = resolve({"command": ["python3", "-m", "x"]}, search_path_of({"PATH": "/usr/bin"})).argv[0]
    assert Path(found).parent == Path(sys.executable).parent


def test_only_harmless_variables_are_inherited() -> None:
    ours = {
        "PATH": "p",
        "LANG": "C",
        "JWT_SECRET": "s",
        "DATABASE_URL": "d",
        "DATABASE_DIRECT_URL": "d",
        "PGPASSWORD": "p",
    }
    assert inherited(ours) == {"PATH": "p", "LANG": "C"}


@pytest.mark.parametrize(
    ("run", "limits"),
    [
        ({}, Limits()),
        ({"memory": "256m"}, Limits(memory_bytes=256 * 1024**2)),
        ({"memory": "1GiB", "cpus": 2}, Limits(memory_bytes=1024**3, cpus=2)),
        ({"memory": 4096}, Limits(memory_bytes=4096)),
    ],
)
def test_limits_are_read_from_the_spec(run: dict[str, Any], limits: Limits) -> None:
    assert limits_of(run) == limits


@pytest.mark.parametrize("run", [{"memory": "lots"}, {"memory": 0}, {"cpus": 0}, {"cpus": True}, {"cpus": "1"}])
def test_malformed_limits_are_refused(run: dict[str, Any]) -> None:
    with pytest.raises(RuntimeFailure):
        limits_of(run)
