"""What can be chosen about the embedded PostgreSQL."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path


@dataclass(frozen=True, slots=True)
class PostgresOptions:
    """Choices for one embedded server.

    `durable` is off only where a power cut may take everything (tests). `shared_buffers` and `max_wal_size`
    are PostgreSQL sizes. `runtime_folder` takes a short alias of the socket folder where its real path is too
    long for a socket. `shared_folder` takes a copy of the binaries where we are root and they are out of an
    ordinary user's reach. `older_programs` is an installation (with bin/postgres) of the version that made the
    data, for an upgrade; `tell` hears how that goes.
    """

    durable: bool = True
    database: str = "workstation"
    shared_buffers: str = "256MB"
    max_wal_size: str = "4GB"
    max_connections: int = 60
    start_timeout: timedelta = timedelta(seconds=120)
    stop_timeout: timedelta = timedelta(seconds=20)
    older_programs: Path | None = None
    tell: Callable[[str], None] = lambda _sentence: None
    log_bytes: int = 20 * 1024 * 1024
    runtime_folder: Path = Path("/tmp")  # noqa: S108 - only private folders are made in it
    shared_folder: Path = Path("/var/lib/workstation")
