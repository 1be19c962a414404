-- name: has_written
select pg_current_xact_id_if_assigned() is not null and exists (
    select from pg_locks as held
    join pg_class as relation on relation.oid = held.relation
    where held.pid = pg_backend_pid() and held.locktype = 'relation'
      and held.mode in ('RowExclusiveLock', 'AccessExclusiveLock') and relation.relkind in ('r', 'p')
)
