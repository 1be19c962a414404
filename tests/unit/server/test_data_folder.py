"""The data folder: private, held by one process at a time, its secret and identity written once."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from workstation.server.data_folder import Credentials, DataFolder, DataFolderFailure, DataFolderTaken


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_new_folder_is_closed_to_others(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "a" / "b")
    assert mode(folder.path) == 0o700


def test_a_folder_that_others_can_change_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    with pytest.raises(DataFolderFailure, match="can be changed by other users"):
        DataFolder(shared)
    assert mode(shared) == 0o777


def test_a_path_that_is_a_file_is_refused_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataFolderFailure, match=r"cannot be used .*File exists"):
        DataFolder(tmp_path / "file")


def test_the_secret_is_made_once_and_private(tmp_path: Path) -> None:
    secret = DataFolder(tmp_path).secret()
    assert len(secret) == 32 and DataFolder(tmp_path).secret() == secret
    assert mode(tmp_path / "secret") == 0o600


def test_many_first_readers_get_one_secret_and_leave_no_scraps(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        secrets = set(pool.map(lambda _: DataFolder(tmp_path).secret(), range(64)))
    assert len(secrets) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["logs", "secret"]


def test_a_secret_that_others_can_read_is_refused(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    folder.secret()
    (tmp_path / "secret").chmod(0o640)
    with pytest.raises(DataFolderFailure, match="Others can read the signing key"):
        folder.secret()


@pytest.mark.parametrize("damage", ["", "no hex", "abcd"])
def test_a_damaged_secret_is_refused_and_kept(tmp_path: Path, damage: str) -> None:
    folder = DataFolder(tmp_path)
    folder.secret()
    (tmp_path / "secret").write_text(damage)
    with pytest.raises(DataFolderFailure, match="is damaged"):
        folder.secret()
    assert (tmp_path / "secret").read_text() == damage


def test_the_node_keeps_its_identity(tmp_path: Path) -> None:
    node = DataFolder(tmp_path).node_id()
    assert DataFolder(tmp_path).node_id() == node != DataFolder(tmp_path / "other").node_id()
    (tmp_path / "node_id").write_text("x")
    with pytest.raises(DataFolderFailure, match="is damaged"):
        DataFolder(tmp_path).node_id()


def test_credentials_are_private_and_replaced_whole(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    assert folder.read_credentials() is None
    folder.write_credentials(Credentials("http://127.0.0.1:3000", "one"))
    folder.write_credentials(Credentials("http://127.0.0.1:3000", "two"))
    assert folder.read_credentials() == Credentials("http://127.0.0.1:3000", "two")
    assert mode(folder.credentials_file) == 0o600
    assert json.loads(folder.credentials_file.read_text()) == {"url": "http://127.0.0.1:3000", "token": "two"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["credentials.json", "logs"]


def test_credentials_that_make_no_sense_are_none(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    for nonsense in ("", "[]", '{"url": "x"}'):
        folder.credentials_file.write_text(nonsense)
        assert folder.read_credentials() is None


def test_a_taken_folder_says_who_has_it_and_where(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    lock = folder.lock()
    with pytest.raises(DataFolderTaken, match=f"in use by process {os.getpid()}:"):
        folder.lock()
    lock.describe("http://127.0.0.1:3000")
    with pytest.raises(DataFolderTaken, match=f"process {os.getpid()} at http://127.0.0.1:3000") as taken:
        folder.lock()
    assert taken.value.holder == folder.holder()
    lock.release()
    lock.release()
    assert folder.holder() is None


def test_looking_who_holds_a_folder_keeps_nobody_from_taking_it(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    assert folder.holder() is None
    with ThreadPoolExecutor(1) as pool:
        looks = pool.submit(lambda: [folder.holder() for _ in range(2000)])
        for _ in range(200):
            folder.lock().release()
        looks.result()


HOLDER = """
import pathlib, subprocess, sys, time
from workstation.server.data_folder import DataFolder
lock = DataFolder(pathlib.Path(sys.argv[1])).lock()
child = subprocess.Popen(["sleep", "60"])
print(child.pid, flush=True)
time.sleep(60)
"""


def test_a_killed_holder_holds_nothing_even_if_its_children_live(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    with subprocess.Popen([sys.executable, "-c", HOLDER, tmp_path], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        try:
            with pytest.raises(DataFolderTaken, match=f"process {process.pid}"):
                folder.lock()
            process.kill()
            process.wait()
            folder.lock().release()
        finally:
            os.kill(child, 9)


@pytest.mark.parametrize(
    ("name", "file"),
    [("browser-automation-agent", "7-browser-automation-agent.log"), ("../../x y", "7-xy.log")],
)
def test_an_agents_name_cannot_lead_its_log_astray(tmp_path: Path, name: str, file: str) -> None:
    folder = DataFolder(tmp_path)
    assert folder.agent_log(7, name) == folder.path / "logs" / "agents" / file
