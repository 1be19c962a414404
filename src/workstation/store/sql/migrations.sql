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

-- name: checksum_of
select checksum from schema_migrations where number = $1

-- name: remember
insert into schema_migrations (number, name, checksum) values ($1, $2, $3)

-- name: newest
select max(number) from schema_migrations
