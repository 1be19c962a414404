-- name: server_version
select current_setting('server_version_num')

-- name: lock
select pg_advisory_xact_lock($1)

-- name: create_table
create table if not exists schema_migrations (
    number integer primary key,
    name text not null,
    checksum text not null,
    applied_at timestamptz not null default now()
)

-- name: add_oldest
alter table schema_migrations add column if not exists oldest integer

-- name: patience
-- What waits for a table makes everybody wait who comes after it.
set local lock_timeout = '1s'

-- name: checksum_of
select checksum from schema_migrations where number = $1

-- name: remember
insert into schema_migrations (number, name, checksum, oldest) values ($1, $2, $3, $4)

-- name: oldest_needed
-- What a program has to know at least to work with the schema as it is.
select max(coalesce(oldest, number)) from schema_migrations

-- name: newest
select max(number) from schema_migrations
