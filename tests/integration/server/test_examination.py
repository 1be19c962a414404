"""What `workstation doctor` asks the database and this machine."""

from pathlib import Path

import pytest
from tests.support.postgres import TestServer

from workstation.domain.errors import Unavailable
from workstation.server import examination
from workstation.server.data_folder import DataFolder
from workstation.server.settings import Settings


def test_a_database_without_fsync_is_found_out(postgres: TestServer) -> None:
    assert set(examination.settings_off(postgres.server.dsn)) == {"fsync", "full_page_writes"}


def test_a_database_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        examination.settings_off(f"postgresql://workstation@/none?host={tmp_path}&port=5432")


def test_the_address_is_the_given_one_before_the_embedded_one(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "data")
    assert examination.database_address(Settings(folder.path), folder) is None
    given = Settings(folder.path, database_url="postgresql://elsewhere/db")
    assert examination.database_address(given, folder) == "postgresql://elsewhere/db"


def test_a_browser_that_is_named_and_not_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKSTATION_BROWSER", "/nowhere/chromium")
    assert examination.browser() is None


def test_where_the_driver_of_the_browser_does_not_run_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLAYWRIGHT_NODEJS_PATH", "/bin/false")
    assert examination.browser() is None


def test_a_browser_that_does_not_run_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKSTATION_BROWSER", "/bin/false")
    assert examination.browser() is None
