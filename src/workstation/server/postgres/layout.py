"""Where the embedded PostgreSQL keeps what it has."""

import os
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlencode

from workstation.server.postgres.account import Account, give_away
from workstation.server.postgres.failure import PostgresFailure

PORT = 5432
ROLE = "workstation"
SOCKET_NAME = f".s.PGSQL.{PORT}"
LONGEST_SOCKET_PATH = 103
"""The shortest limit among systems: 107 bytes on Linux, 103 on macOS."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The folder of the embedded PostgreSQL: a data folder for each major version, the socket folder."""

    folder: Path
    major: int

    @property
    def data(self) -> Path:
        """The data folder of this major version."""
        return self.folder / str(self.major)

    @property
    def sockets(self) -> Path:
        """The socket folder; only its owner (and root) gets in."""
        return self.folder / "socket"

    @property
    def socket(self) -> Path:
        """The socket itself, whose path may be too long to connect to."""
        return self.sockets / SOCKET_NAME

    @property
    def alias_record(self) -> Path:
        """Holds the path of the socket folder's alias, where one was needed."""
        return self.folder / "socket-alias"


def prepare(layout: Layout, account: Account | None) -> None:
    """Make the folders. With an account of its own for the server, the outer one is passable for it (0711).

    That opens nothing: what is in it is 0700, and the workstation's data folder around it is closed to all
    others. The server itself never walks a path through folders above: it gets its data folder as its working
    folder.
    """
    try:
        layout.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        layout.sockets.mkdir(mode=0o700, exist_ok=True)
        if account is not None:
            layout.folder.chmod(0o711)
            os.chown(layout.sockets, account.uid, account.gid)
            if layout.data.exists() and layout.data.stat().st_uid == 0:
                give_away(layout.data, account)  # A copy restored by root, which PostgreSQL refuses to be.
    except OSError as error:
        raise PostgresFailure(
            f"The folder {layout.folder} cannot be prepared ({error.strerror}): "
            "make it writable for this user or choose another data folder."
        ) from error


def dsn(sockets: Path, database: str) -> str:
    """The address of a database behind the socket folder, as libpq and asyncpg understand it."""
    query = urlencode({"host": str(sockets), "port": PORT}, quote_via=quote, safe="/")
    return f"postgresql://{ROLE}@/{quote(database)}?{query}"


def reachable_sockets(layout: Layout, runtime_folder: Path) -> Path:
    """A path of the socket folder that is short enough to connect to.

    Where its own is not, a link to it in a private folder under `runtime_folder`, recorded for the next
    start.
    """
    known = known_sockets(layout)
    if known != layout.sockets or len(os.fsencode(layout.socket)) <= LONGEST_SOCKET_PATH:
        return known
    alias = Path(tempfile.mkdtemp(prefix="workstation-", dir=runtime_folder)) / "pg"
    alias.symlink_to(layout.sockets)
    layout.alias_record.write_text(f"{alias}\n")
    return alias


def known_sockets(layout: Layout) -> Path:
    """The path of the socket folder that was found for the last start: its own, or its alias where that is too long."""
    if len(os.fsencode(layout.socket)) > LONGEST_SOCKET_PATH and layout.alias_record.exists():
        recorded = Path(layout.alias_record.read_text().strip())
        if _leads_to(recorded, layout.sockets):
            return recorded
    return layout.sockets


def _leads_to(alias: Path, sockets: Path) -> bool:
    """True where the alias is ours: in a private folder of this user, which nobody else can have changed."""
    try:
        status = alias.parent.lstat()
        private = stat.S_ISDIR(status.st_mode) and stat.S_IMODE(status.st_mode) == 0o700
        return private and status.st_uid == os.geteuid() and alias.readlink() == sockets
    except OSError:
        return False


def restore_alias(layout: Layout, alias: Path) -> None:
    """Make a lost alias again at the same path, by which connection pools know it.

    Temporary folders get swept.

    Raises PostgresFailure where somebody else has that path now.
    """
    if alias == layout.sockets or _leads_to(alias, layout.sockets):
        return
    if not alias.parent.exists():
        alias.parent.mkdir(mode=0o700)
    if not alias.is_symlink():
        alias.symlink_to(layout.sockets)
    if not _leads_to(alias, layout.sockets):
        raise PostgresFailure(f"The way to the database, {alias}, is not ours any more: restart workstation.")
