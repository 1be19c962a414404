"""How little power Chromium is started with: in its own sandbox, and not as root where that can be."""

import os
import shlex
from dataclasses import dataclass
from pathlib import Path

NOBODY = 65534
# The profile folder is made by who starts the browser, so it changes hands first.
LAUNCHER = """#!/bin/sh
for word in "$@"; do
  case "$word" in --user-data-dir=*) HOME="${{word#*=}}"; chown -R {nobody}:{nobody} "$HOME" ;; esac
done
export HOME
exec setpriv --reuid={nobody} --regid={nobody} --clear-groups {browser} "$@"
"""


@dataclass(frozen=True, slots=True)
class Confinement:
    """One way to start the browser: as nobody instead of root, with Chromium's own sandbox or without."""

    as_nobody: bool
    sandboxed: bool

    def executable(self, browser: str, folder: Path) -> str:
        """The program to start for `browser`; a launcher is written to `folder` if one is needed."""
        if not self.as_nobody:
            return browser
        launcher = folder / "chromium-as-nobody"
        launcher.write_text(LAUNCHER.format(nobody=NOBODY, browser=shlex.quote(browser)))
        launcher.chmod(0o755)
        return str(launcher)


def confinements() -> tuple[Confinement, ...]:
    """The ways to try on this machine, the strictest first.

    Chromium's sandbox needs user namespaces, which containers and some distributions refuse.
    """
    if os.geteuid() != 0:
        return (Confinement(as_nobody=False, sandboxed=True), Confinement(as_nobody=False, sandboxed=False))
    return (
        Confinement(as_nobody=True, sandboxed=True),
        Confinement(as_nobody=True, sandboxed=False),
        Confinement(as_nobody=False, sandboxed=False),
    )
