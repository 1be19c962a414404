-- name: durability
select current_setting('fsync') = 'on' as fsync,
       current_setting('synchronous_commit') <> 'off' as synchronous_commit,
       current_setting('full_page_writes') = 'on' as full_page_writes

-- name: room
-- How many connections an ordinary user may have; reserved_connections exists since PostgreSQL 16.
select current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
     - current_setting('reserved_connections')::int
