-- name: join_lock
-- Two that start at once must see each other.
select pg_advisory_xact_lock(hashtext('workstation nodes'))

-- name: join
insert into nodes (id, version, url, key_fingerprint, lease_expires_at)
values ($1, $2, $3, $4, now() + $5::interval)
on conflict (id) do update
    set version = $2, url = $3, key_fingerprint = $4, started_at = now(), lease_expires_at = now() + $5::interval

-- name: other_fingerprints
select distinct key_fingerprint from nodes
where id <> $1 and lease_expires_at > now() and key_fingerprint is not null

-- name: renew
update nodes set lease_expires_at = now() + $2::interval where id = $1 and lease_expires_at > now() returning id

-- name: retire
update nodes set lease_expires_at = least(lease_expires_at, now()) where id = $1

-- name: tell_clock
update nodes set clock_ahead_ms = $2, clock_error_ms = $3 where id = $1

-- name: leave
delete from nodes where id = $1

-- name: count_others
select count(*) from nodes where id <> $1 and lease_expires_at > now()

-- name: prune
delete from nodes where lease_expires_at < now() - interval '1 day'

-- name: notify
select pg_notify($1, $2)

-- name: ping
select 1
