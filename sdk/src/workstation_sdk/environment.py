"""The one reader of the environment: which server, with which token, as which agent."""

import os
import stat
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec

from workstation_sdk.errors import Misconfigured

DEFAULT_URL = "http://127.0.0.1:3000"
CREDENTIALS = "credentials.json"


class Server(NamedTuple):
    """Where a server listens and the token to show it; `url` is http://, https:// or unix:///path/of.socket.

    `others` are the addresses of its replicas, to be asked in turn where it does not answer.
    """

    url: str
    token: str
    others: tuple[str, ...] = ()

    @property
    def addresses(self) -> tuple["Server", ...]:
        """This server and its replicas, each by itself."""
        return tuple(Server(url, self.token) for url in (self.url, *self.others))

    @property
    def urls(self) -> str:
        """All addresses, as they are given in WORKSTATION_URL."""
        return ",".join((self.url, *self.others))

    @property
    def socket_path(self) -> str | None:
        """The path of the unix socket, or None for a TCP address."""
        parts = urlsplit(self.url)
        return parts.path if parts.scheme == "unix" else None

    @property
    def base(self) -> str:
        """The http(s) address requests are made against, without a trailing slash."""
        return "http://localhost" if self.socket_path else self.url.rstrip("/")

    @property
    def is_local(self) -> bool:
        """Whether the server is on this machine, where a proxy would only be in the way."""
        host = urlsplit(self.base).hostname or ""
        try:
            return ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"


class Launch(NamedTuple):
    """How a started agent process was told who it is; both are None for one started by hand."""

    agent_id: str | None
    launch: str | None


class _Saved(msgspec.Struct):
    url: str
    token: str


def data_folder() -> Path:
    """Return the data folder: `WORKSTATION_DATA_DIR`, or `~/.local/share/workstation`."""
    chosen = os.environ.get("WORKSTATION_DATA_DIR")
    return Path(chosen) if chosen else Path.home() / ".local" / "share" / "workstation"


def find_server(url: str | None = None, token: str | None = None) -> Server:
    """Return the server to use: the arguments, else the environment, else the saved credentials.

    An address may be a list of replicas, separated by commas.
    A saved token is only shown to the server it was saved for; a token without an address goes to that server.
    Raises `Misconfigured` when no token is found.
    """
    url = url or os.environ.get("WORKSTATION_URL")
    token = token or os.environ.get("WORKSTATION_TOKEN")
    saved = None if url and token else _read_saved(data_folder() / CREDENTIALS)
    if saved and (url is None or url.rstrip("/") == saved.url.rstrip("/")):
        url, token = saved.url, token or saved.token
    if not token:
        raise Misconfigured("no token: set WORKSTATION_TOKEN (`workstation token create` prints one)")
    first, *others = dict.fromkeys(_checked(each.strip()) for each in (url or DEFAULT_URL).split(","))
    return Server(first, token, tuple(others))


def names_server() -> bool:
    """Return whether `WORKSTATION_URL` says which server is meant."""
    return bool(os.environ.get("WORKSTATION_URL"))


def find_launch() -> Launch:
    """Return who this process was started as: `WORKSTATION_AGENT_ID` and `WORKSTATION_LAUNCH`."""
    environ = os.environ
    return Launch(environ.get("WORKSTATION_AGENT_ID") or None, environ.get("WORKSTATION_LAUNCH") or None)


def save_credentials(server: Server, folder: Path | None = None) -> Path:
    """Write the credentials file (readable by its owner alone) and return its path."""
    target = (folder or data_folder()) / CREDENTIALS
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_suffix(f".{os.getpid()}.new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.encode(_Saved(server.url, server.token)))
    return fresh.replace(target)


def _read_saved(path: Path) -> _Saved | None:
    try:
        mode = path.stat().st_mode
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    if stat.S_IMODE(mode) & 0o077:
        raise Misconfigured(f"{path} can be read by others: run `chmod 600 {path}`")
    try:
        return msgspec.json.decode(content, type=_Saved)
    except msgspec.MsgspecError as error:
        raise Misconfigured(f"{path} is not a credentials file ({error}): remove it and log in again") from error


def _checked(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme == "unix" and parts.path:
        return url
    if parts.scheme in ("http", "https") and parts.netloc:
        return url.rstrip("/")
    raise Misconfigured(f"{url!r} is not a server address: use http://, https:// or unix:///path")
