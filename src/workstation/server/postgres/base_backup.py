"""A physical copy of a running embedded server, with all of the log it needs, and the check of such a copy."""

import hashlib
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

from workstation.server.postgres.binaries import find_binaries
from workstation.server.postgres.cluster import FULL
from workstation.server.postgres.failure import PostgresFailure
from workstation.server.postgres.layout import PORT, ROLE
from workstation.server.postgres.programs import ENVIRONMENT

BASE = "base.tar.gz"
WAL = "pg_wal.tar.gz"
MANIFEST = "backup_manifest"
_PERCENT = re.compile(r"\((\d+)%\)")
_STEP = 10


def take(sockets: Path, into: Path, tell: Callable[[str], None]) -> None:
    """Copy the server behind `sockets` into the empty folder `into`: BASE, WAL and MANIFEST.

    The copy has everything that was committed when it began. Raises PostgresFailure.
    """
    command = [
        find_binaries().program("pg_basebackup"),
        f"--host={sockets}", f"--port={PORT}", f"--username={ROLE}", "--no-password",
        f"--pgdata={into}", "--format=tar", "--compress=client-gzip:1", "--wal-method=stream", "--checkpoint=fast",
        "--manifest-checksums=SHA256", "--progress",
    ]  # fmt: skip
    last, told = "", 0
    with subprocess.Popen(
        command, env=ENVIRONMENT, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, umask=0o077
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            percent = _PERCENT.search(line)
            if percent is None:
                last = line.strip() or last
            elif int(percent[1]) >= told + _STEP:
                told = int(percent[1])
                tell(f"copying the database: {min(told, 100)} %")
    if process.returncode != 0:
        if any(full in last for full in FULL):
            last = "the disk is full"
        raise PostgresFailure(f"The database could not be copied ({last}): mend that and try again.")


def check(data: Path) -> None:
    """Compare an unpacked copy with the manifest of its server. Raises PostgresFailure where a file is not as it was.

    In place of pg_verifybackup, which the wheel has but which does not run.
    """
    for file in json.loads((data / MANIFEST).read_bytes())["Files"]:
        name = file["Path"] if "Path" in file else bytes.fromhex(file["Encoded-Path"]).decode()
        if not (data / name).exists() or _digest_of(data / name) != file["Checksum"]:
            raise PostgresFailure(f"The copy of the database is damaged ({name} is not as it was): use another backup.")


def _digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
