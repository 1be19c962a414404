"""The file of a backup: a tar whose first member says what the others are, with their checksums."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import tarfile
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

FORMAT = 1
CONTENTS = "contents.json"
CHUNK = 1024 * 1024


class ArchiveFailure(Exception):
    """A backup cannot be written or read: one sentence that says why and what to do."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What a backup holds: who made it, of which major version of PostgreSQL, and the SHA-256 of each file."""

    format: int
    workstation: str
    postgres: int
    sha256: dict[str, str]


def write(folder: Path, target: Path, workstation: str, postgres: int, *, replace: bool) -> int:
    """Put the files of a folder into the archive `target` (0600), whole or not at all; its size in bytes."""
    names = sorted(path.name for path in folder.iterdir())
    contents = Contents(FORMAT, workstation, postgres, {name: _digest_of(folder / name) for name in names})
    partial = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            (folder / CONTENTS).write_text(json.dumps(asdict(contents), indent=2))
            with tarfile.open(fileobj=file, mode="w") as tar:
                for name in (CONTENTS, *names):
                    tar.add(folder / name, arcname=name, filter=_nobodys)
            file.flush()
            os.fsync(descriptor)
        _publish(partial, target, replace=replace)
    finally:
        partial.unlink(missing_ok=True)
    return target.stat().st_size


def _publish(partial: Path, target: Path, *, replace: bool) -> None:
    if replace:
        partial.replace(target)
    else:
        try:
            os.link(partial, target)
        except FileExistsError:
            raise ArchiveFailure(f"{target} exists: choose another name, or replace it with --force.") from None
    descriptor = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _nobodys(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mode = 0o600
    return member


def _digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def verify(source: Path) -> Contents:
    """Read a whole archive and compare every checksum. Raises ArchiveFailure where it is not a sound backup."""
    try:
        with tarfile.open(source, mode="r:") as tar:
            contents = _contents_of(tar, source)
            found = {member.name: _digest(tar.extractfile(member)) for member in tar if member.name != CONTENTS}
    except (tarfile.TarError, EOFError) as error:
        raise ArchiveFailure(f"{source} is no backup of workstation, or it is damaged: use another one.") from error
    except OSError as error:
        raise ArchiveFailure(f"{source} cannot be read ({error.strerror or error}).") from error
    if found != contents.sha256:
        wrong = sorted(name for name in found.keys() | contents.sha256 if found.get(name) != contents.sha256.get(name))
        raise ArchiveFailure(f"{source} is damaged ({', '.join(wrong)} is not as it was written): use another one.")
    return contents


def _contents_of(tar: tarfile.TarFile, source: Path) -> Contents:
    first = tar.next()
    if first is None or first.name != CONTENTS or (file := tar.extractfile(first)) is None:
        raise ArchiveFailure(f"{source} is no backup of workstation.")
    try:
        said = json.loads(file.read())
        if said["format"] != FORMAT:
            raise ArchiveFailure(
                f"{source} was made by workstation {said['workstation']}, whose format this version does not know: "
                "restore it with that version, or a newer one."
            )
        return Contents(FORMAT, str(said["workstation"]), int(said["postgres"]), dict(said["sha256"]))
    except (ValueError, KeyError, TypeError) as error:
        raise ArchiveFailure(f"{source} is no backup of workstation, or it is damaged: use another one.") from error


def _digest(file: IO[bytes] | None) -> str:
    digest = hashlib.sha256()
    while file is not None and (chunk := file.read(CHUNK)):
        digest.update(chunk)
    return digest.hexdigest()


def unpack(source: Path, name: str, target: Path) -> None:
    """Unpack a compressed tar within an archive into a folder."""
    with tarfile.open(source, mode="r:") as outer, tarfile.open(fileobj=outer.extractfile(name), mode="r:gz") as inner:
        for member in inner:
            _unpack_member(inner, member, target)


def _unpack_member(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts or not (member.isreg() or member.isdir()):
        raise ArchiveFailure(f"The backup has {member.name!r}, which is no plain file of a database: use another one.")
    if member.isdir():
        (target / name).mkdir(mode=0o700, parents=True, exist_ok=True)
        return
    content: Any = tar.extractfile(member)
    (target / name).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(target / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        shutil.copyfileobj(content, file, CHUNK)


def read(source: Path, name: str) -> bytes:
    """One file of an archive."""
    with tarfile.open(source, mode="r:") as tar:
        file = tar.extractfile(name)
        assert file is not None
        return file.read()
