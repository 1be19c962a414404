-- name: issue
with issued as (
    insert into tokens (id, subject, role, agent_id, launch_id, created_by, expires_at)
    values ($1, $2, $3, $4, $5, $6, now() + $7::interval)
    returning id, subject, role, agent_id, launch_id, created_by, created_at, expires_at, revoked_at
), told as (
    insert into events (type, subject, actor, data)
    select 'token.issued', 'token/' || id, created_by, jsonb_build_object('subject', subject, 'role', role)
    from issued
)
select * from issued

-- name: revoke
-- Revoking again changes nothing and tells nothing.
with revoked as (
    update tokens set revoked_at = now() where id = $1 and revoked_at is null
    returning id, subject, role
), told as (
    insert into events (type, subject, actor, data)
    select 'token.revoked', 'token/' || id, $2::text, jsonb_build_object('subject', subject, 'role', role)
    from revoked
)
select exists (select from tokens where id = $1)

-- name: revoke_for_launch
with revoked as (
    update tokens set revoked_at = now() where launch_id = $1 and revoked_at is null
    returning id, subject, role
), told as (
    insert into events (type, subject, actor, data)
    select 'token.revoked', 'token/' || id, $2::text, jsonb_build_object('subject', subject, 'role', role)
    from revoked
)
select id from revoked

-- name: list_tokens
select id, subject, role, agent_id, launch_id, created_by, created_at, expires_at, revoked_at
from tokens
where ($1::timestamptz is null or (created_at, id) < ($1, $2::uuid))
  and ($3::boolean or (revoked_at is null and expires_at > now()))
order by created_at desc, id desc
limit $4

-- name: list_revoked
-- Those that would still be good otherwise. The overlap makes up for transactions that commit late.
select id, now() as read_at
from tokens
where revoked_at is not null and expires_at > now()
  and ($1::timestamptz is null or revoked_at > $1 - interval '30 seconds')
