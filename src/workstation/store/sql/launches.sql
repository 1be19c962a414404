-- name: open_launch
-- At most one open launch for each replica of an agent, whoever asks first. Who looked at the agent before another
-- replica started it, and asks after that start has ended, finds that the starts are no longer those it saw.
insert into agent_launches (id, agent_id, replica, node_id, driver)
select $1, r.id, $3, $4, $5 from agent_registry r where r.id = $2 and r.start_attempts = $6::timestamptz[]
on conflict (agent_id, replica) where status <> 'ended' do nothing
returning id

-- name: keep_handle
-- No row: the start took so long that another replica took it over, or ended it.
update agent_launches set handle = $2::jsonb where id = $1 and node_id = $3 and status <> 'ended' returning id

-- name: mark_ready
update agent_launches set status = 'running', ready_at = now()
where id = $1 and agent_id = $2 and status = 'starting'

-- name: mark_stopping
update agent_launches set status = 'stopping', stopping_at = coalesce(stopping_at, now()), reason = $2
where id = $1 and status in ('starting', 'running')

-- name: end_launch
update agent_launches set status = 'ended', ended_at = now(), exit_code = $2, reason = $3
where id = $1 and status <> 'ended'
returning agent_id

-- name: adopt_launches
-- Launches of a node whose lease is long over go to another. Of several that want the same the first gets it: for the
-- others it is no longer the dead node's. After an outage every lease looks long over: who has just entered, or not yet
-- again, leaves the others the time to do so.
update agent_launches l set node_id = $1
from (
    select o.id, o.node_id from agent_launches o
    where o.status <> 'ended' and o.node_id is distinct from $1
      and not exists (select from nodes n where n.id = o.node_id and n.lease_expires_at > now() - interval '30 seconds')
      and exists (select from nodes me where me.id = $1 and me.lease_expires_at > now()
                  and me.started_at < now() - interval '10 seconds')
) of_the_dead
where l.id = of_the_dead.id and l.node_id is not distinct from of_the_dead.node_id and l.status <> 'ended'
returning l.id

-- name: list_supervised
-- Every agent that has something to be done or looked at, with its open launch and its living instances.
select r.id, r.name, r.type, r.status, r.desired_status, r.runtime, r.spec, r.container_name, r.force_stop,
       r.start_attempts, r.next_start_at, r.generation, r.status_reason, r.max_concurrency,
       r.status_changed_at, r.unhealthy_since, r.restart_at, now() as now,
       l.id as launch_id, l.node_id, l.driver, l.handle, l.status as launch_status, l.started_at as launch_started_at,
       l.ready_at, l.stopping_at,
       (select count(*) from agent_instances n where n.agent_id = r.id and n.launch_id = l.id
            and n.status in ('live', 'draining')) as alive,
       (select max(n.ended_at) from agent_instances n where n.agent_id = r.id and n.launch_id = l.id) as last_ended_at
from agent_registry r
left join agent_launches l on l.agent_id = r.id and l.status <> 'ended'
where r.runtime <> 'external'
  and (l.id is not null
       or (r.removed_at is null and (r.desired_status = 'running' or r.status in ('starting', 'stopping', 'running'))))
order by r.id

-- name: list_launches
select id, driver, handle, status, started_at, ready_at, ended_at, exit_code, reason
from agent_launches where agent_id = $1 order by started_at desc limit $2

-- name: prune
delete from agent_launches
where id = any (array(
    select id from agent_launches where status = 'ended' and ended_at < now() - $2::interval limit $1
))
