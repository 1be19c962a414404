"""The data folder: who uses it, its secret, its identity, where its parts are."""

import fcntl
import json
import os
import secrets
import stat
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from uuid import UUID, uuid4

SECRET_BYTES = 32
LOCK_ATTEMPTS = 5
LOCK_PAUSE_SECONDS = 0.02


class DataFolderFailure(Exception):
    """The data folder cannot be used: one sentence that says what is wrong and what to do."""


class DataFolderTaken(DataFolderFailure):
    """Another workstation uses this data folder; `holder` says which, as far as it has told."""

    def __init__(self, folder: Path, holder: "Holder | None") -> None:
        who = f"process {holder.pid}" if holder else "another process"
        if holder and holder.url:
            who = f"{who} at {holder.url}"
        super().__init__(
            f"The data folder {folder} is in use by {who}: use that one, stop it, or choose another folder."
        )
        self.holder = holder


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a data folder: its process number and, once it listens, its address."""

    pid: int
    url: str | None


@dataclass(frozen=True, slots=True)
class Credentials:
    """How the command line reaches a server: its address and a token."""

    url: str
    token: str


class DataFolder:
    """A folder that keeps everything of one workstation. Nothing in it can be read by other users."""

    def __init__(self, path: Path) -> None:
        """Make the folder (0700) where it is missing. Raises DataFolderFailure where it cannot be used."""
        self.path = path.expanduser().absolute()
        self._make(self.path)
        if self.path.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise DataFolderFailure(
                f"The data folder {self.path} can be changed by other users: "
                f"choose a folder of its own, or run chmod 700 {self.path}."
            )
        self._make(self.logs)

    def _make(self, folder: Path) -> None:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise self._unusable(error) from error

    @property
    def logs(self) -> Path:
        """The folder of all logs."""
        return self.path / "logs"

    @property
    def postgres(self) -> Path:
        """The folder of the embedded PostgreSQL."""
        return self.path / "postgres"

    @property
    def postgres_log(self) -> Path:
        """The log of the embedded PostgreSQL."""
        return self.logs / "postgres.log"

    @property
    def server_log(self) -> Path:
        """The log of the server itself."""
        return self.logs / "server.log"

    @property
    def credentials_file(self) -> Path:
        """`{"url": …, "token": …}` for the command line."""
        return self.path / "credentials.json"

    def agent_log(self, agent_id: int, agent_name: str) -> Path:
        """The log of an agent's copies. Letters that are no good in a file name are left out of the name."""
        name = "".join(letter for letter in agent_name if letter.isalnum() or letter in "-_")[:64]
        return self.logs / "agents" / f"{agent_id}-{name}.log"

    def lock(self) -> "FolderLock":
        """Take the folder for this process. Raises DataFolderTaken where another holds it."""
        try:
            descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise self._unusable(error) from error
        if not _try_to_lock(descriptor):
            holder = _read_holder(descriptor)
            os.close(descriptor)
            raise DataFolderTaken(self.path, holder)
        return FolderLock(descriptor)

    def holder(self) -> Holder | None:
        """Who holds the folder now, or None where nobody does (or has not said who it is yet)."""
        try:
            descriptor = os.open(self.path / "lock", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _read_holder(descriptor)
        finally:
            os.close(descriptor)
        return None

    def secret(self) -> bytes:
        """The signing key, 32 random bytes, made at the first call.

        Raises DataFolderFailure if others can read it.
        """
        path = self.path / "secret"
        text = self._keep(path, lambda: secrets.token_hex(SECRET_BYTES))
        if path.stat().st_mode & 0o077:
            raise DataFolderFailure(
                f"Others can read the signing key {path}: remove it (that ends all tokens) or chmod 600 it."
            )
        try:
            key = bytes.fromhex(text)
        except ValueError:
            key = b""
        if len(key) < SECRET_BYTES:
            raise DataFolderFailure(
                f"The signing key {path} is damaged: restore or remove it (that ends all tokens), then start."
            )
        return key

    def node_id(self) -> UUID:
        """The identity of this node among replicas, made at the first call."""
        path = self.path / "node_id"
        try:
            return UUID(self._keep(path, lambda: str(uuid4())))
        except ValueError:
            raise DataFolderFailure(f"The node's identity {path} is damaged: remove it and start again.") from None

    def write_credentials(self, credentials: Credentials) -> None:
        """Save what the command line needs (0600), all at once."""
        try:
            partial = self._write_aside(self.credentials_file, json.dumps(asdict(credentials)))
            partial.replace(self.credentials_file)
        except OSError as error:
            raise self._unusable(error) from error

    def read_credentials(self) -> Credentials | None:
        """What `write_credentials` saved, or None where there is nothing of use."""
        try:
            saved = json.loads(self.credentials_file.read_text())
            return Credentials(str(saved["url"]), str(saved["token"]))
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None

    def _keep(self, path: Path, make: Callable[[], str]) -> str:
        """The content of a file that is written once: whole or not at all, and never over another's."""
        try:
            if not path.exists():
                partial = self._write_aside(path, make())
                try:
                    os.link(partial, path)
                except FileExistsError:
                    pass  # A twin was faster, and its value counts.
                finally:
                    partial.unlink()
            return path.read_text().strip()
        except OSError as error:
            raise self._unusable(error) from error

    def _write_aside(self, path: Path, text: str) -> Path:
        partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(descriptor)
        return partial

    def _unusable(self, error: OSError) -> DataFolderFailure:
        return DataFolderFailure(
            f"The data folder {self.path} cannot be used ({error.strerror or error}): "
            "mend that or choose another with WORKSTATION_DATA_DIR."
        )


class FolderLock:
    """A held data folder. The kernel releases it when this process ends, however it ends."""

    def __init__(self, descriptor: int) -> None:
        """`descriptor` is the locked file; who holds it is noted in it."""
        self._descriptor = descriptor
        self.describe(None)

    def describe(self, url: str | None) -> None:
        """Tell those who find the folder taken where we listen."""
        note = json.dumps({"pid": os.getpid(), "url": url}).encode()
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, note, 0)

    def release(self) -> None:
        """Let go of the folder. Idempotent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _try_to_lock(descriptor: int) -> bool:
    """Take the lock; somebody who merely looks whether it is held is waited for, a holder is not."""
    for _ in range(LOCK_ATTEMPTS):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(LOCK_PAUSE_SECONDS)
        else:
            return True
    return False


def _read_holder(descriptor: int) -> Holder | None:
    try:
        note = json.loads(os.pread(descriptor, 4096, 0))
        return Holder(int(note["pid"]), note["url"])
    except (ValueError, KeyError, TypeError):
        return None
