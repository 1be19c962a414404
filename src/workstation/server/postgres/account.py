"""The operating-system account PostgreSQL runs as: it refuses to be root."""

import grp
import os
import pwd
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from workstation.server.postgres.failure import PostgresFailure

UNNAMED = range(64218, 65000)
"""Where to look for a number that belongs to no account and no group of this machine."""


@dataclass(frozen=True, slots=True)
class Account:
    """A user and group number to run programs as."""

    uid: int
    gid: int

    def as_arguments(self) -> dict[str, Any]:
        """Arguments of Popen that make its child this account, with no other groups."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []}


def server_account(data: Path) -> Account | None:
    """The account of the server on this data folder, or None for our own (we are not root).

    As root it is the folder's owner, or a number without a name for a new one: an account such as `nobody`
    is shared with other programs, sandboxes of ours among them, and they could signal and trace the server.
    """
    if os.geteuid() != 0:
        return None
    if data.exists() and (status := data.stat()).st_uid != 0:
        return Account(status.st_uid, status.st_gid)
    return _unnamed()


def _unnamed() -> Account:
    taken = {entry.pw_uid for entry in pwd.getpwall()} | {entry.gr_gid for entry in grp.getgrall()}
    number = next(number for number in UNNAMED if number not in taken)
    return Account(number, number)


def maker_account(server: Account | None) -> Account | None:
    """The account that runs initdb: as the server's, but with a name, because initdb insists on one."""
    if server is None or _has_name(server):
        return server
    for name in ("nobody", "daemon", "bin"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid)
    raise PostgresFailure(
        "This machine has no unprivileged account (nobody) to make the database with: "
        "run workstation as an ordinary user or set DATABASE_URL."
    )


def _has_name(account: Account) -> bool:
    try:
        pwd.getpwuid(account.uid)
    except KeyError:
        return False
    return True


def user_name() -> str:
    """The name of the user we are. Raises PostgresFailure where there is none, because initdb needs one."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        raise PostgresFailure(
            f"User number {os.geteuid()} has no name on this machine, which PostgreSQL needs: "
            "add it to /etc/passwd or set DATABASE_URL."
        ) from None


def give_away(tree: Path, account: Account) -> None:
    """Make `account` the owner of a folder and all in it; links are changed, not followed."""
    for path in chain((tree,), tree.rglob("*")):
        os.chown(path, account.uid, account.gid, follow_symlinks=False)
