-- name: end_what_ran
-- The processes of a copied database belong to the original, which may still run: they are neither adopted nor ended.
-- Tasks that ran in them are taken back by the reaper, without charge, as after any outage.
with launches as (
    update agent_launches set status = 'ended', ended_at = now(), reason = 'the database was restored from a backup'
    where status <> 'ended'
), lost as (
    update agent_instances
    set status = 'dead', ended_at = now(), reason = 'the database was restored from a backup'
    where status in ('live', 'draining')
    returning id, agent_id
), told as (
    insert into events (type, subject, data)
    select 'instance.lost', 'instance/' || id, jsonb_build_object('agent_id', agent_id::text) from lost
), revoked as (
    update tokens set revoked_at = now() where launch_id is not null and revoked_at is null and expires_at > now()
    returning id, subject, role
), told_too as (
    insert into events (type, subject, data)
    select 'token.revoked', 'token/' || id, jsonb_build_object('subject', subject, 'role', role) from revoked
), forgotten as (
    delete from nodes
)
select count(*) from lost

-- name: has_foreign_transactions
-- Rows of a cluster whose transactions were counted further than ours: a dump was restored here.
select exists (select from events where tx >= pg_snapshot_xmax(pg_current_snapshot()))
    or exists (select from agent_registry where changed_tx >= pg_snapshot_xmax(pg_current_snapshot()))

-- name: adopt_events
update events set tx = pg_current_xact_id() where tx >= pg_snapshot_xmax(pg_current_snapshot())

-- name: adopt_agents
update agent_registry set changed_tx = pg_current_xact_id()
where changed_tx >= pg_snapshot_xmax(pg_current_snapshot())
