-- name: register
insert into agent_registry
    (name, type, container_name, capabilities, metadata, spec, region, max_concurrency, task_types, built_in, desired_status)
values ($1, $2, $3, $4, $5::jsonb, $6::jsonb, $7, $8, $9::jsonb, $10, $11)
on conflict (name) where removed_at is null do nothing
returning id

-- name: seed
-- Inserts one built-in agent unless it is there; the name is looked up first, so that no id is burnt.
insert into agent_registry (name, type, capabilities, spec, built_in, desired_status)
select $1::text, $2, $3, $4::jsonb, true, $5
where not exists (select from agent_registry where name = $1 and removed_at is null)
returning id

-- name: seed_lock
select pg_advisory_xact_lock(hashtext('workstation seed'))

-- name: update
update agent_registry
set name = coalesce($2, name), type = coalesce($3, type), container_name = coalesce($4, container_name),
    capabilities = coalesce($5, capabilities), metadata = coalesce($6::jsonb, metadata),
    spec = coalesce($7::jsonb, spec), region = coalesce($8, region),
    max_concurrency = coalesce($9, max_concurrency), task_types = coalesce($10::jsonb, task_types)
where id = $1 and removed_at is null
returning id

-- name: remove
-- Only an agent that is stopped and has no task that is not final.
update agent_registry r
set removed_at = now(), desired_status = 'stopped'
where r.id = $1 and r.removed_at is null and r.status = 'stopped'
  and not exists (select from agent_tasks t where t.agent_id = r.id and t.status in ('waiting', 'pending', 'running'))
returning id

-- name: has_open_tasks
select exists (select from agent_tasks where agent_id = $1 and status in ('waiting', 'pending', 'running'))

-- name: get_agents
select * from agent_registry where id = any ($1::bigint[]) and removed_at is null

-- name: find_gate
select name, desired_status, runtime from agent_registry where id = $1 and removed_at is null

-- name: find_by_name
select id from agent_registry where name = $1 and removed_at is null

-- name: list_agents
select * from agent_registry
where removed_at is null
  and ($1::text is null or status = $1) and ($2::text is null or type = $2)
  and ($3::text is null or capabilities @> array[$3]) and ($4::text is null or region = $4)
  and ($5::text is null or health_status = $5)
order by id

-- name: changed_since
select id, name, type, status, health_status, desired_status, capabilities, max_concurrency, task_types, region,
       runtime, removed_at, generation
from agent_registry where changed_tx >= $1::text::xid8

-- name: snapshot_floor
select pg_snapshot_xmin(pg_current_snapshot())::text

-- name: order_start
update agent_registry r
set desired_status = 'running', force_stop = false, start_attempts = '{}', next_start_at = null,
    generation = r.generation + 1, unhealthy_since = null,
    status = case when r.status in ('error', 'stopped') and r.runtime <> 'external' then 'starting' else r.status end,
    status_reason = case when r.status in ('error', 'stopped') then 'start was asked for' else r.status_reason end
from (select id, status from agent_registry where id = $1 and removed_at is null for update) was
where r.id = was.id
returning r.id, r.status, r.runtime, r.generation, was.status as was

-- name: order_restart
update agent_registry r
set desired_status = 'running', force_stop = false, start_attempts = '{}', next_start_at = null, restart_at = now(),
    generation = r.generation + 1, unhealthy_since = null,
    status = case when r.runtime = 'external' then r.status when r.status = 'running' then 'stopping' else 'starting' end,
    status_reason = 'restart was asked for'
from (select id, status from agent_registry where id = $1 and removed_at is null for update) was
where r.id = was.id
returning r.id, r.status, r.runtime, r.generation, was.status as was

-- name: order_stop
update agent_registry r
set desired_status = 'stopped', force_stop = $2, next_start_at = null, generation = r.generation + 1,
    status = case when r.status in ('running', 'starting') then 'stopping' when r.status = 'error' then 'stopped'
                  else r.status end,
    status_reason = 'stop was asked for'
from (select id, status from agent_registry where id = $1 and removed_at is null for update) was
where r.id = was.id
returning r.id, r.status, r.runtime, r.generation, was.status as was

-- name: observe
-- What the supervisor saw. The generation keeps a late observation from undoing a newer order.
update agent_registry r
set status = $2, status_reason = $3, next_start_at = $4, start_attempts = coalesce($5, r.start_attempts),
    desired_status = coalesce($6, r.desired_status)
from (select id, status from agent_registry where id = $1 and generation = $7 for update) was
where r.id = was.id
  and (r.status, r.status_reason, r.next_start_at, r.start_attempts)
      is distinct from ($2, $3, $4, coalesce($5, r.start_attempts))
returning r.id, was.status as was

-- name: refresh_external
-- An agent that is started elsewhere runs while one of its instances lives, and is stopped when the last is gone.
update agent_registry r
set status = s.status, status_reason = s.reason
from (
    select e.id, case when not e.alive then 'stopped' when e.desired_status = 'running' then 'running'
                      else 'stopping' end as status,
           case when not e.alive then 'no instance is connected' when e.desired_status = 'running' then 'connected'
                else 'stop was asked for' end as reason
    from (
        select a.id, a.desired_status, exists (
            select from agent_instances n where n.agent_id = a.id and n.status in ('live', 'draining')) as alive
        from agent_registry a where a.id = any ($1::bigint[]) and a.runtime = 'external'
    ) e
) s
where r.id = s.id and r.status <> s.status
returning r.id, r.status, r.status_reason

-- name: declare
-- What an agent says of itself at hello; written only where it differs.
update agent_registry
set task_types = coalesce($2::jsonb, task_types),
    capabilities = (select coalesce(array_agg(distinct c order by c), '{}') from unnest(capabilities || $3::text[]) c),
    health_interval_ms = coalesce($4, health_interval_ms)
where id = $1
  and (($2::jsonb is not null and task_types is distinct from $2::jsonb)
       or not (capabilities @> $3::text[])
       or ($4::int is not null and health_interval_ms is distinct from $4::int))
returning id

-- name: report_health
-- Reports of many agents at once: written when the word changes or the last one is older than 15 s.
with reported as (
    update agent_registry r
    set reported_health = i.word, health_status = i.word, health_metadata = coalesce(i.metadata::jsonb, r.health_metadata),
        health_reported_at = now(), last_health_check = now(),
        unhealthy_since = case when i.word = 'unhealthy' then coalesce(r.unhealthy_since, now()) end
    from unnest($1::bigint[], $2::text[], $3::text[], $4::text[]) as i (agent_id, word, metadata, was)
    where r.id = i.agent_id and r.removed_at is null
    returning r.id, i.word, i.was
), told as (
    insert into events (type, subject, data)
    select 'health.changed', 'agent/' || id, jsonb_build_object('agent_id', id::text, 'from', was, 'to', word)
    from reported where was is distinct from word
)
select id from reported

-- name: list_health
select id, health_status, health_reported_at < now() - interval '15 seconds' as old, health_metadata
from agent_registry where id = any ($1::bigint[]) and removed_at is null
order by id for update

-- name: expire_health
-- A report older than three of the agent's own intervals says nothing any more (five minutes where it named none).
with expired as (
    update agent_registry r
    set health_status = 'unknown', unhealthy_since = null
    from (
        select id, health_status as was from agent_registry
        where removed_at is null and health_status <> 'unknown'
          and health_reported_at < now() - coalesce(health_interval_ms * 3, 300000) * interval '1 millisecond'
        order by id limit $1 for update skip locked
    ) s
    where r.id = s.id
    returning r.id, s.was
), told as (
    insert into events (type, subject, data)
    select 'health.changed', 'agent/' || id, jsonb_build_object('agent_id', id::text, 'from', was, 'to', 'unknown')
    from expired
)
select id from expired

-- name: overview
select count(*) filter (where type <> 'mcp') as total,
       count(*) filter (where type <> 'mcp' and status = 'running') as running,
       count(*) filter (where type <> 'mcp' and status = 'stopped') as stopped,
       count(*) filter (where type <> 'mcp' and status = 'running' and health_status = 'healthy') as healthy,
       count(*) filter (where type <> 'mcp' and status = 'running' and health_status = 'degraded') as degraded,
       count(*) filter (where type <> 'mcp' and status = 'running' and health_status = 'unhealthy') as unhealthy,
       count(*) filter (where type = 'mcp') as mcp,
       (select coalesce(sum(pending), 0)::bigint from task_counts) as pending_tasks
from agent_registry where removed_at is null

-- name: count_by_type
select type, count(*) as n from agent_registry where removed_at is null group by type order by type

-- name: say_hello
update agent_registry r
set status = 'running', status_reason = 'connected', next_start_at = null
where r.id = $1 and r.status in ('starting', 'error') and r.desired_status = 'running' and r.runtime <> 'external'
  and exists (select from agent_launches l where l.id = $2 and l.agent_id = r.id and l.status in ('starting', 'running'))
returning id

-- name: tell
insert into events (type, subject, actor, data)
values ($1, $2, $3, jsonb_build_object('agent_id', $4::bigint::text) || $5::jsonb)
