"""A real pgbouncer in transaction mode, in front of a PostgreSQL of its own that lets it in."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.support.live_server import free_port
from tests.support.postgres import TestServer, server_folder

USER = "workstation"
_LOCAL = "unix_socket_directories = '../socket, {sockets}'\nunix_socket_permissions = 0777\nhba_file = '{hba}'\n"
_HBA = "local all all trust\n"
_INI = """\
[databases]
* = host={sockets} port=5432

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {folder}/users.txt
pool_mode = {mode}
default_pool_size = {size}
max_client_conn = 500
server_login_retry = 1
server_lifetime = 3
"""


def program() -> str:
    """The path of pgbouncer; skips the test where there is none."""
    path = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if path is None:
        pytest.skip("pgbouncer is not installed: scripts/install-proxies installs it")
    return path


class PgBouncer:
    """One pgbouncer over the sockets of a PostgreSQL."""

    def __init__(self, sockets: Path, *, size: int, mode: str = "transaction") -> None:
        self._program = program()
        self.folder = Path(tempfile.mkdtemp(prefix="workstation-pgbouncer-"))
        self.folder.chmod(0o755)
        self.port = free_port()
        ini = _INI.format(sockets=sockets, port=self.port, folder=self.folder, mode=mode, size=size)
        (self.folder / "pgbouncer.ini").write_text(ini)
        (self.folder / "users.txt").write_text(f'"{USER}" ""\n')
        self._process: subprocess.Popen[bytes] | None = None

    def dsn_of(self, database: str) -> str:
        """The address of a database through it."""
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start it and wait until it listens."""
        nobody = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._program, str(self.folder / "pgbouncer.ini")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                **({"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []} if nobody else {}),
            )
        deadline = time.monotonic() + 10
        while True:
            with socket.socket() as trial:
                if trial.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert self._process.poll() is None and time.monotonic() < deadline, (self.folder / "log").read_text()
            time.sleep(0.02)

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(timeout=10)

    def remove(self) -> None:
        """End it and remove its folder."""
        self.kill()
        shutil.rmtree(self.folder)


@contextmanager
def open_postgres() -> Iterator[tuple[TestServer, Path]]:
    """A PostgreSQL, and a folder with a socket on which it lets in everybody of this machine."""
    sockets = Path(tempfile.mkdtemp(prefix="workstation-sockets-"))
    sockets.chmod(0o755)
    try:
        with server_folder() as folder:
            server = TestServer(folder)
            server.start()
            (data,) = (folder / "postgres").glob("[0-9]*")
            server.stop()
            owner = data.stat()
            os.chown(sockets, owner.st_uid, owner.st_gid)
            hba = sockets / "pg_hba.conf"
            hba.write_text(_HBA)
            (data / "postgresql.local.conf").write_text(_LOCAL.format(sockets=sockets, hba=hba))
            for path in (hba, data / "postgresql.local.conf"):
                os.chown(path, owner.st_uid, owner.st_gid)
            server.start()
            yield server, sockets
            server.stop()
    finally:
        shutil.rmtree(sockets)
