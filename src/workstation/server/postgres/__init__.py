"""The embedded PostgreSQL: its binaries, its cluster, its life."""

from workstation.server.postgres.embedded import EmbeddedPostgres, PostgresEvent
from workstation.server.postgres.failure import PostgresFailure
from workstation.server.postgres.options import PostgresOptions

__all__ = ["EmbeddedPostgres", "PostgresEvent", "PostgresFailure", "PostgresOptions"]
