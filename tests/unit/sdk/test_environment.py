"""Which server, which token, who am I."""

import stat
from pathlib import Path

import pytest

from workstation_sdk import Misconfigured, Server, data_folder, save_credentials
from workstation_sdk.environment import DEFAULT_URL, find_launch, find_server


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder and an empty environment."""
    for name in ("WORKSTATION_URL", "WORKSTATION_TOKEN", "WORKSTATION_AGENT_ID", "WORKSTATION_LAUNCH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WORKSTATION_DATA_DIR", str(tmp_path))
    return tmp_path


def test_arguments_go_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKSTATION_URL", "http://env:1/")
    monkeypatch.setenv("WORKSTATION_TOKEN", "env")
    assert find_server() == Server("http://env:1", "env")
    assert find_server("https://given", "given") == Server("https://given", "given")


def test_a_token_alone_means_the_server_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKSTATION_TOKEN", "env")
    assert find_server() == Server(DEFAULT_URL, "env")


def test_saved_credentials_are_found_and_private(folder: Path) -> None:
    path = save_credentials(Server("http://saved:1", "saved"))
    assert path == folder / "credentials.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert find_server() == Server("http://saved:1", "saved")
    assert find_server("http://saved:1/") == Server("http://saved:1", "saved")


def test_a_token_alone_goes_to_the_server_of_the_data_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    save_credentials(Server("http://127.0.0.1:4000", "saved"))
    monkeypatch.setenv("WORKSTATION_TOKEN", "mine")
    assert find_server() == Server("http://127.0.0.1:4000", "mine")


def test_a_saved_token_is_not_shown_to_another_server() -> None:
    save_credentials(Server("http://saved:1", "saved"))
    with pytest.raises(Misconfigured, match="no token"):
        find_server("http://other:1")


def test_credentials_others_can_read_are_refused() -> None:
    save_credentials(Server("http://saved:1", "saved")).chmod(0o644)
    with pytest.raises(Misconfigured, match="chmod 600"):
        find_server()


def test_a_broken_credentials_file_is_named(folder: Path) -> None:
    path = folder / "credentials.json"
    path.touch(mode=0o600)
    with pytest.raises(Misconfigured, match="is not a credentials file"):
        find_server()


@pytest.mark.parametrize("url", ["ftp://x", "localhost:3000", "unix://", "http://"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(Misconfigured, match="not a server address"):
        find_server(url, "t")


def test_a_unix_socket_is_an_address() -> None:
    server = find_server("unix:///run/workstation.sock", "t")
    assert (server.socket_path, server.base, server.is_local) == (
        "/run/workstation.sock",
        "http://localhost",
        True,
    )


@pytest.mark.parametrize(
    ("url", "local"), [("http://127.0.0.1:3000", True), ("http://[::1]:3000", True), ("https://host", False)]
)
def test_a_local_server_is_recognised(url: str, local: bool) -> None:
    assert find_server(url, "t").is_local is local


def test_a_started_agent_knows_who_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_launch() == (None, None)
    monkeypatch.setenv("WORKSTATION_AGENT_ID", "7")
    monkeypatch.setenv("WORKSTATION_LAUNCH", "l")
    assert find_launch() == ("7", "l")


def test_the_data_folder_has_a_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORKSTATION_DATA_DIR")
    assert data_folder() == Path.home() / ".local" / "share" / "workstation"


def test_an_address_may_be_a_list_of_replicas() -> None:
    server = find_server("http://a:1, https://b:2/,http://a:1", "t")
    assert [each.url for each in server.addresses] == ["http://a:1", "https://b:2"]
    assert server.urls == "http://a:1,https://b:2"


def test_one_wrong_address_in_a_list_is_refused() -> None:
    with pytest.raises(Misconfigured, match="'b:2' is not a server address"):
        find_server("http://a:1,b:2", "t")


def test_a_saved_token_is_not_shown_to_a_list_of_addresses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKSTATION_DATA_DIR", str(tmp_path))
    save_credentials(Server("http://a:1", "saved"), tmp_path)
    with pytest.raises(Misconfigured, match="no token"):
        find_server("http://a:1,http://b:2")
