"""The configuration files of the embedded PostgreSQL, written anew at each start."""

import os
import secrets
from pathlib import Path

from workstation.server.postgres.account import Account, user_name
from workstation.server.postgres.layout import PORT, ROLE
from workstation.server.postgres.options import PostgresOptions

CONF = "postgresql.conf"

_TEXT = """\
# Written by workstation at each start: changes here are lost. Your own go into postgresql.local.conf.

# Reached through one private socket only.
listen_addresses = ''
port = {port}
unix_socket_directories = '../socket'      # relative to the data folder, so its length has no limit
unix_socket_permissions = 0700
max_connections = {max_connections}
cluster_name = 'workstation'

# Durable.
fsync = {durable}
synchronous_commit = on
full_page_writes = {durable}

# Memory and disk.
shared_buffers = '{shared_buffers}'
work_mem = '8MB'
maintenance_work_mem = '128MB'
max_wal_size = '{max_wal_size}'
min_wal_size = '512MB'
wal_compression = off                      # processor time is what there is least of; this build has no lz4
checkpoint_timeout = '10min'
checkpoint_completion_target = 0.9
max_worker_processes = 8
max_parallel_workers_per_gather = 0        # queries are short, cores few, and containers have little /dev/shm
io_method = worker
jit = off

# The task table changes all the time: clean up early and quickly.
autovacuum_naptime = '5s'
autovacuum_vacuum_scale_factor = 0.05
autovacuum_vacuum_insert_scale_factor = 0.1
autovacuum_analyze_scale_factor = 0.05
autovacuum_vacuum_cost_delay = '1ms'
autovacuum_vacuum_cost_limit = 2000

# Sessions of a client that died or forgot its transaction do not stay.
idle_in_transaction_session_timeout = '60s'
client_connection_check_interval = '2s'
# A deadlock is found well within the deadline of a statement of ours, so that it can be tried again.
deadlock_timeout = '200ms'

# The log goes to standard error, which is a file that workstation keeps bounded.
logging_collector = off
log_destination = 'stderr'
log_line_prefix = '%m [%p] '
log_checkpoints = off
log_lock_waits = on
log_autovacuum_min_duration = -1
log_timezone = 'UTC'
timezone = 'UTC'
datestyle = 'iso, mdy'
default_text_search_config = 'pg_catalog.simple'
lc_messages = 'C'

include_if_exists = 'postgresql.local.conf'
"""

_HBA = f"""\
# Written by workstation at each start. On top of the socket folder's permissions the kernel tells who is at
# the other end of the socket: the user who runs workstation, and root; nobody else gets in.
local all         {ROLE} peer map=workstation
local replication {ROLE} peer map=workstation
"""


def settings_text(options: PostgresOptions) -> str:
    """The text of the settings file."""
    return _TEXT.format(
        port=PORT,
        max_connections=options.max_connections,
        durable="on" if options.durable else "off",
        shared_buffers=options.shared_buffers,
        max_wal_size=options.max_wal_size,
    )


def write_configuration(data: Path, options: PostgresOptions, account: Account | None) -> None:
    """Write the settings and who may connect (this user and root) into a data folder."""
    _replace(data / CONF, settings_text(options), account)
    write_access(data, account)


def write_access(data: Path, account: Account | None) -> None:
    """Write who may connect (this user and root) into a data folder, and nothing else."""
    users = sorted({user_name(), "root"})
    ident = "".join(f'workstation "{user}" {ROLE}\n' for user in users)
    _replace(data / "pg_hba.conf", _HBA, account)
    _replace(data / "pg_ident.conf", ident, account)


def _replace(path: Path, text: str, account: Account | None) -> None:
    """Write beside and rename over. A link planted by the server's account is replaced, never followed."""
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w") as file:
        if account is not None:
            os.fchown(descriptor, account.uid, account.gid)
        file.write(text)
    partial.replace(path)
