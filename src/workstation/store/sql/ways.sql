-- name: backend
select pg_backend_pid()
