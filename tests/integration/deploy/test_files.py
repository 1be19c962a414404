"""The files of deploy/ are good: the unit file, the composition, the image's file and what they name."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support.live_server import ROOT

from workstation.server.settings import Settings

DEPLOY = ROOT / "deploy"
UNIT = DEPLOY / "workstation.service"


@pytest.fixture(scope="module")
def composition() -> Any:
    """compose.yaml, parsed."""
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())


def test_systemd_has_nothing_against_the_unit(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    program = tmp_path / "workstation"
    program.touch(mode=0o755)
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/workstation/bin/workstation", str(program)))
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_unit_is_exposed_to_little(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=35", str(UNIT)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-300:]


def test_the_unit_waits_for_longer_than_a_server_drains() -> None:
    assert "KillMode=mixed\nTimeoutStopSec=60s\n" in UNIT.read_text()


def test_what_the_composition_mounts_is_there_or_made_by_the_reader(composition: Any) -> None:
    text = (DEPLOY / "compose.yaml").read_text()
    made = set(re.findall(r"^#\s+(workstation\.crt), (workstation\.key)", text, re.MULTILINE)[0])
    mounts = [mount.split(":")[0] for mount in composition["services"]["proxy"]["volumes"]]
    for mount in mounts:
        assert (DEPLOY / mount).exists() or Path(mount).name in made, mount


def test_the_servers_believe_the_proxy_and_have_addresses_that_stay(composition: Any) -> None:
    services = composition["services"]
    addresses = {name: service["networks"]["inner"]["ipv4_address"] for name, service in services.items()}
    assert len(set(addresses.values())) == len(services)
    upstream = set(re.findall(r"server (\S+):3000", (DEPLOY / "upstream.compose.conf").read_text()))
    assert upstream == {"server-1", "server-2"}
    for name in upstream:
        environment = services[name]["environment"]
        assert environment["WORKSTATION_TRUSTED_PROXIES"] == addresses["proxy"]
        secrets = {"DATABASE_URL": "postgresql://x@database/workstation", "JWT_SECRET": "x" * 64}
        settings = Settings.from_environment({**environment, **secrets})
        assert [str(network) for network in settings.trusted_proxies] == [f"{addresses['proxy']}/32"]
        assert services[name]["read_only"] and services[name]["cap_drop"] == ["ALL"]


def test_the_image_copies_only_what_the_context_lets_in() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    let_in = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    copied = [words.split()[0] for words in re.findall(r"^COPY (?!--from)(.+)$", text, re.MULTILINE)]
    assert sorted(copied) == sorted(let_in)
    assert "USER 10001:10001" in text and "STOPSIGNAL SIGTERM" in text and "HEALTHCHECK" in text


def test_no_file_here_names_a_registry_or_a_secret() -> None:
    for path in DEPLOY.iterdir():
        if path.suffix not in (".crt", ".key"):
            assert not re.search(r"(docker\.io|ghcr\.io|quay\.io|BEGIN [A-Z ]*PRIVATE KEY)", path.read_text()), path
