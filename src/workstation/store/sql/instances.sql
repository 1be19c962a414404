-- name: hello
-- A new instance, or one that comes back while its lease still runs. No row: it is dead, or another agent's.
insert into agent_instances as n
    (id, agent_id, launch_id, node_id, slots, region, version, lease_expires_at)
values ($1, $2, $3, $4, $5, $6, $7, now() + $8::interval)
on conflict (id) do update
    set lease_expires_at = now() + $8::interval, node_id = $4, slots = $5,
        status = case when $9::boolean then 'live' else n.status end
    where n.status in ('live', 'draining') and n.agent_id = $2
returning id, status, (xmax = 0) as is_new

-- name: renew
update agent_instances set lease_expires_at = now() + $2::interval
where id = any ($1::uuid[]) and status in ('live', 'draining')
returning id, node_id, status = 'draining' as draining

-- name: renew_own
update agent_instances set lease_expires_at = now() + $3::interval
where id = $1 and agent_id = $2 and status in ('live', 'draining')
returning id

-- name: shorten
-- The socket closed: the instance has only this long to come back. One that has come to another replica meanwhile is
-- none of this one's business any more.
update agent_instances set lease_expires_at = least(lease_expires_at, now() + $2::interval)
where id = any ($1::uuid[]) and status in ('live', 'draining') and node_id is not distinct from $3

-- name: drain
update agent_instances set status = 'draining' where id = any ($1::uuid[]) and status = 'live' returning id

-- name: finish
update agent_instances set status = 'ended', ended_at = now(), reason = $2
where id = any ($1::uuid[]) and status in ('live', 'draining')
returning id, agent_id

-- name: reap_lapsed
with lapsed as (
    update agent_instances n
    set status = 'dead', ended_at = now(), reason = 'its lease lapsed'
    where n.id = any (array(
        select id from agent_instances
        where status in ('live', 'draining') and lease_expires_at < now()
        order by id limit $1 for update skip locked
    ))
    returning n.id, n.agent_id
), told as (
    insert into events (type, subject, data)
    select 'instance.lost', 'instance/' || id, jsonb_build_object('agent_id', agent_id::text) from lapsed
)
select id, agent_id from lapsed

-- name: clamp_leases
-- A lease written while the clock was ahead must not block its tasks for as long.
update agent_instances set lease_expires_at = now() + $1::interval
where status in ('live', 'draining') and lease_expires_at > now() + $1::interval + interval '1 second'

-- name: count_alive
select agent_id, count(*) as n from agent_instances
where status in ('live', 'draining') and agent_id = any ($1::bigint[]) group by agent_id

-- name: list_alive
select id, agent_id, launch_id, node_id, status, slots, region, version, lease_expires_at, started_at
from agent_instances
where agent_id = $1 and status in ('live', 'draining')
order by started_at

-- name: prune_instances
delete from agent_instances
where id = any (array(
    select n.id from agent_instances n
    where n.status in ('ended', 'dead') and n.ended_at < now() - $2::interval
      and not exists (select from claims c where c.instance_id = n.id)
    limit $1
))

-- name: finish_launch
update agent_instances set status = 'ended', ended_at = now(), reason = $2
where launch_id = $1 and status in ('live', 'draining')

-- name: evict_stopped
-- Instances of an agent that was ordered to stop, that nobody here started, and that have not gone by themselves.
update agent_instances n set status = 'ended', ended_at = now(), reason = 'its agent was stopped'
from agent_registry r
where n.agent_id = r.id and n.status in ('live', 'draining') and r.runtime = 'external'
  and (r.desired_status = 'stopped' or r.removed_at is not null)
  and (r.force_stop or r.updated_at < now() - interval '15 seconds')
returning n.id, n.agent_id
