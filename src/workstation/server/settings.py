"""Settings: what the environment decides, read once, here alone, and passed on as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path
from urllib.parse import urlsplit

from workstation.api.forwarded import Network
from workstation.engine.janitor import Retention
from workstation.store.fail_points import FailPoint, parse

DEFAULT_DATA_DIR = "~/.local/share/workstation"
LOOPBACK = "127.0.0.1"
# What started agents are told of our environment besides the little every process gets.
PASSED_ON = ("WORKSTATION_FETCH_ALLOW", "WORKSTATION_BROWSER")
_WITHOUT = {"DATABASE_URL": "the embedded PostgreSQL", "DATABASE_DIRECT_URL": "DATABASE_URL for everything"}


class SettingsError(Exception):
    """A setting cannot be used: one sentence that names it and says what it may be."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be chosen about one server. database_url None: the embedded PostgreSQL."""

    data_dir: Path
    host: str = LOOPBACK
    port: int = 3000
    database_url: str | None = None
    database_direct_url: str | None = None
    jwt_secret: bytes | None = field(default=None, repr=False)
    allowed_origins: tuple[str, ...] = ()
    trusted_proxies: tuple[Network, ...] = ()
    max_concurrent_tasks: int = 10
    pool_size: int = 8
    older_postgres: Path | None = None
    retention: Retention = field(default_factory=Retention)
    start_agents: bool = True
    drain_seconds: int = 10
    agent_urls: tuple[str, ...] = ()
    agent_env: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    fail_points: tuple[FailPoint, ...] = ()

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Settings:
        """Read the documented variables; raises SettingsError for one that cannot be used."""
        secret = environ.get("JWT_SECRET")
        if secret is not None and len(secret.encode()) < 32:
            raise SettingsError("JWT_SECRET needs at least 32 bytes; make it longer, or unset it to have one made.")
        return cls(
            data_dir=Path(environ.get("WORKSTATION_DATA_DIR") or DEFAULT_DATA_DIR).expanduser(),
            port=_number(environ, "PORT", 3000, 0, 65535),
            database_url=_database_url(environ, "DATABASE_URL"),
            database_direct_url=_direct_url(environ),
            jwt_secret=None if secret is None else secret.encode(),
            allowed_origins=_origins(environ),
            trusted_proxies=_networks(environ),
            max_concurrent_tasks=_number(environ, "MAX_CONCURRENT_TASKS", 10, 1, 100_000),
            pool_size=_number(environ, "WORKSTATION_POOL_SIZE", 8, 2, 200),
            drain_seconds=_number(environ, "WORKSTATION_DRAIN_SECONDS", 10, 0, 600),
            agent_urls=_agent_urls(environ),
            older_postgres=Path(older).expanduser() if (older := environ.get("WORKSTATION_OLD_POSTGRES")) else None,
            retention=_retention(environ),
            agent_env={name: environ[name] for name in PASSED_ON if name in environ},
            environment=dict(environ),
            fail_points=_fail_points(environ),
        )


def _number(environ: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    text = environ.get(name)
    if text is None or text == "":
        return default
    if not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
        raise SettingsError(f"{name} is {text!r} and must be a whole number from {least} to {most}.")
    return int(text)


def _fail_points(environ: Mapping[str, str]) -> tuple[FailPoint, ...]:
    try:
        return parse(environ.get("WORKSTATION_FAIL_POINTS", ""))
    except ValueError as error:
        raise SettingsError(f"WORKSTATION_FAIL_POINTS cannot be used: {error}.") from error


def _retention(environ: Mapping[str, str]) -> Retention:
    usual = Retention()

    def days(name: str, default: timedelta) -> timedelta:
        return timedelta(days=_number(environ, name, default.days, 1, 36_500))

    return Retention(
        tasks=days("WORKSTATION_KEEP_TASKS_DAYS", usual.tasks),
        attempts=days("WORKSTATION_KEEP_ATTEMPTS_DAYS", usual.attempts),
        events=days("WORKSTATION_KEEP_EVENTS_DAYS", usual.events),
        instances=days("WORKSTATION_KEEP_INSTANCES_DAYS", usual.instances),
        audit=days("WORKSTATION_KEEP_AUDIT_DAYS", usual.audit),
    )


def _database_url(environ: Mapping[str, str], name: str) -> str | None:
    url = environ.get(name)
    if not url:
        return None
    if urlsplit(url).scheme not in ("postgresql", "postgres"):
        raise SettingsError(f"{name} must begin with postgresql://; unset it to use {_WITHOUT[name]}.")
    return url


def _direct_url(environ: Mapping[str, str]) -> str | None:
    url = _database_url(environ, "DATABASE_DIRECT_URL")
    if url is not None and not environ.get("DATABASE_URL"):
        raise SettingsError("DATABASE_DIRECT_URL goes with DATABASE_URL, which is not set; set both or neither.")
    return url


def _networks(environ: Mapping[str, str]) -> tuple[Network, ...]:
    parts = [part.strip() for part in environ.get("WORKSTATION_TRUSTED_PROXIES", "").split(",")]
    try:
        return tuple(ip_network(part) for part in parts if part)
    except ValueError as error:
        raise SettingsError(
            f"WORKSTATION_TRUSTED_PROXIES has a part that is no network ({error}); write 127.0.0.1,10.0.0.0/8."
        ) from error


def _agent_urls(environ: Mapping[str, str]) -> tuple[str, ...]:
    urls = [url.strip().rstrip("/") for url in environ.get("WORKSTATION_AGENT_URL", "").split(",")]
    for url in urls:
        if url and (urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).netloc):
            raise SettingsError(f"WORKSTATION_AGENT_URL has {url!r}; an address looks like https://host:3000.")
    return tuple(url for url in urls if url)


def _origins(environ: Mapping[str, str]) -> tuple[str, ...]:
    origins = [origin.strip().rstrip("/") for origin in environ.get("ALLOWED_ORIGINS", "").split(",")]
    for origin in origins:
        if origin and origin != "*" and urlsplit(origin).scheme not in ("http", "https"):
            raise SettingsError(f"ALLOWED_ORIGINS has {origin!r}; an origin looks like https://app.example.com.")
    return tuple(origin for origin in origins if origin)
