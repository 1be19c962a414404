-- Every statement here that gets many tasks by number looks them up one by one, whatever the plan was told of sizes when
-- it was made: by `id = any (array[…])`, which is no join, or by a lateral look-up with `offset 0`. As a plain join it may
-- be turned round (all tasks first, then the list for each of them), and a plan made for a young table stays.

-- name: take_ids
select nextval('agent_tasks_id_seq') from generate_series(1, $1::int)

-- name: submit
-- One row of each array is one task; its id was taken before, and the answers are matched by it. taker_instance is set
-- where a task is handed to an agent session as it is created: it is then born running, provided that the instance
-- still lives and its agent is still open for work. A task of an unknown agent, or whose idempotency key is there
-- already, is left out of the answer. Lookups are scalar subqueries: a join with tables whose size the plan cannot
-- foresee goes quadratic.
-- Of columns in which all tasks are alike one value is sent.
with routed as materialized (
    select i.id, case when cardinality($2::bigint[]) = 1 then ($2::bigint[])[1] else i.agent_id end as agent_id,
           i.capability, coalesce(i.type, ($4::text[])[1]) as type, i.payload,
           coalesce(i.priority, ($6::int[])[1]) as priority, coalesce(i.created_by, ($7::text[])[1]) as created_by,
           coalesce(i.max_retries, ($8::int[])[1]) as max_retries, i.run_at,
           coalesce(i.timeout_ms, ($10::int[])[1]) as timeout_ms, i.region, i.idempotency_key, i.request_hash,
           i.taker_instance, i.taker_agent,
           i.taker_instance is not null
           and (select n.status from agent_instances n where n.id = i.taker_instance) = 'live'
           and (select agent_gate(a.removed_at, a.desired_status, a.status, a.health_status) is null
                from agent_registry a where a.id = i.taker_agent) as handed
    from unnest(
        $1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::int[], $7::text[], $8::int[],
        $9::timestamptz[], $10::int[], $11::text[], $12::text[], $13::bytea[], $14::uuid[], $15::bigint[]
    ) as i (
        id, agent_id, capability, type, payload, priority, created_by, max_retries,
        run_at, timeout_ms, region, idempotency_key, request_hash, taker_instance, taker_agent
    )
), inserted as (
    insert into agent_tasks (
        id, agent_id, capability, type, payload, priority, created_by, max_retries, run_at, timeout_ms, region,
        idempotency_key, request_hash, status, attempt, instance_id, started_at, deadline_at, version
    )
    select id, case when handed then taker_agent else agent_id end, capability, type, payload::jsonb, priority,
           created_by, max_retries, coalesce(run_at, now()), timeout_ms, region, idempotency_key, request_hash,
           case when handed then 'running' else 'pending' end, case when handed then 1 else 0 end,
           case when handed then taker_instance end, case when handed then now() end,
           case when handed then now() + timeout_ms * interval '1 millisecond' end, case when handed then 2 else 1 end
    from routed r
    where r.agent_id is null
       or (select a.removed_at is null from agent_registry a where a.id = r.agent_id)
    on conflict (created_by, idempotency_key) where idempotency_key is not null do nothing
    returning id, agent_id, type, created_by, attempt, instance_id, deadline_at, run_at
), given as (
    insert into claims (instance_id, tasks, attempts, look_at)
    select instance_id, array_agg(id), array_agg(attempt), least(min(deadline_at), now() + interval '1 second')
    from inserted where instance_id is not null group by instance_id
), told as (
    insert into events (type, tasks, versions, attempts, agents, task_types, owners)
    select 'task.created', array_agg(id), array_agg(1), array_agg(0), array_agg(agent_id), array_agg(type),
           array_agg(created_by)
    from inserted having count(*) > 0
    union all
    select 'task.started', array_agg(id), array_agg(2), array_agg(attempt), array_agg(agent_id), array_agg(type),
           array_agg(created_by)
    from inserted where instance_id is not null having count(*) > 0
)
select id, instance_id, deadline_at, greatest(extract(epoch from run_at - now()), 0)::float8 as wait_seconds
from inserted

-- name: find_by_idempotency_key
select i.ord, t.id, t.request_hash
from unnest($1::text[], $2::text[]) with ordinality as i (created_by, idempotency_key, ord)
cross join lateral (
    select id, request_hash from agent_tasks
    where created_by = i.created_by and idempotency_key = i.idempotency_key offset 0
) t

-- name: lock_heads
-- The next claimable tasks of each lane, locked. The loop over ranks keeps a million tasks that are not yet due from
-- standing in front; the outer limit stops it as soon as there is enough, so no more is locked than is wanted.
select l.lane, h.id, h.type, h.rank, h.lost_count, now() - h.run_at as due_for
from unnest($1::text[], $2::int[], $3::boolean[], $4::text[]) as l (lane, wanted, suspects, types)
cross join lateral (
    select h.*
    from generate_series(10, 1, -1) as r (rank)
    cross join lateral (
        select t.id, t.type, t.rank, t.lost_count, t.run_at
        from agent_tasks t
        where t.ready and t.lane = l.lane and t.rank = r.rank and t.run_at <= now()
          and (l.suspects or t.lost_count = 0)
          and (l.types is null or t.type = any (string_to_array(l.types, E'\n')))
        order by t.run_at, t.id
        limit l.wanted
        for update skip locked
    ) h
    limit l.wanted
) h

-- name: look_at_heads
-- As lock_heads, without the locks: for a replica that is alone. Whoever else may change a row is met by the claim,
-- which asks every gate again. A lock costs a write of its row.
select l.lane, h.id, h.type, h.rank, h.lost_count, now() - h.run_at as due_for
from unnest($1::text[], $2::int[], $3::boolean[], $4::text[]) as l (lane, wanted, suspects, types)
cross join lateral (
    select h.*
    from generate_series(10, 1, -1) as r (rank)
    cross join lateral (
        select t.id, t.type, t.rank, t.lost_count, t.run_at
        from agent_tasks t
        where t.ready and t.lane = l.lane and t.rank = r.rank and t.run_at <= now()
          and (l.suspects or t.lost_count = 0)
          and (l.types is null or t.type = any (string_to_array(l.types, E'\n')))
        order by t.run_at, t.id
        limit l.wanted
    ) h
    limit l.wanted
) h

-- name: claim
-- Give locked heads to instances. The gates are asked once more: what the caller knows of an agent may be old.
with taken as (
    update agent_tasks t
    set status = 'running', instance_id = c.instance_id, agent_id = c.agent_id, attempt = t.attempt + 1,
        started_at = now(), deadline_at = now() + t.timeout_ms * interval '1 millisecond', version = t.version + 1
    from (
        select task_id, coalesce(instance_id, ($2::uuid[])[1]), coalesce(agent_id, ($3::bigint[])[1])
        from unnest($1::bigint[], $2::uuid[], $3::bigint[]) as a (task_id, instance_id, agent_id)
    ) as c (task_id, instance_id, agent_id)
    where t.id = any (array[c.task_id])
      and (select n.status from agent_instances n where n.id = c.instance_id) = 'live'
      and (select coalesce(agent_gate(a.removed_at, a.desired_status, a.status, a.health_status),
                           task_gate(t.status, t.run_at, t.capability, a.health_status, now()))
           from agent_registry a where a.id = c.agent_id) is null
    returning t.id, t.attempt, t.instance_id, t.agent_id, t.type, t.payload, t.priority, t.timeout_ms,
              t.deadline_at, t.started_at, t.progress -> 'data' as checkpoint, t.lost_count, t.version, t.created_by
), given as (
    insert into claims (instance_id, tasks, attempts, look_at)
    select instance_id, array_agg(id), array_agg(attempt), least(min(deadline_at), now() + interval '1 second')
    from taken group by instance_id
), told as (
    insert into events (type, tasks, versions, attempts, agents, task_types, owners)
    select 'task.started', array_agg(id), array_agg(version), array_agg(attempt), array_agg(agent_id),
           array_agg(type), array_agg(created_by)
    from taken having count(*) > 0
)
select id, attempt, instance_id, agent_id, type, payload, priority, timeout_ms, deadline_at, checkpoint,
       lost_count > 0 as suspect
from taken

-- name: lanes_with_work
-- Every lane that has a task due, found by hopping from lane to lane in the queue index. The order is that of the index:
-- without it a plan that expects a hit at once reads the whole table for each rank that has none.
with recursive lanes as (
    (select lane from agent_tasks where ready order by lane limit 1)
    union all
    select (select t.lane from agent_tasks t where t.ready and t.lane > lanes.lane order by t.lane limit 1)
    from lanes where lanes.lane is not null
)
select lane from lanes
where lane is not null and exists (
    select from generate_series(10, 1, -1) as r (rank)
    cross join lateral (
        select from agent_tasks t
        where t.ready and t.lane = lanes.lane and t.rank = r.rank and t.run_at <= now()
        order by t.run_at, t.id limit 1
    ) due
)

-- name: complete
-- The fence: only the attempt that holds the lease settles; a row that does not match is not touched.
with done as (
    update agent_tasks t
    set status = 'completed', result = i.result::jsonb, usage = i.usage::jsonb, settled_by = i.instance_id,
        instance_id = null, deadline_at = null, completed_at = now(), error = null, version = t.version + 1
    from (
        select task_id, coalesce(attempt, ($2::int[])[1]), coalesce(instance_id, ($3::uuid[])[1]), result, usage
        from unnest($1::bigint[], $2::int[], $3::uuid[], $4::text[], $5::text[])
             as a (task_id, attempt, instance_id, result, usage)
    ) as i (task_id, attempt, instance_id, result, usage)
    where t.id = any (array[i.task_id])
      and t.status = 'running' and t.attempt = i.attempt and t.instance_id = i.instance_id
    returning t.id, t.attempt, t.agent_id, t.type, t.created_by, t.version, t.settled_by
), told as (
    insert into events (type, tasks, versions, attempts, agents, task_types, owners)
    select 'task.completed', array_agg(id), array_agg(version), array_agg(attempt), array_agg(agent_id),
           array_agg(type), array_agg(created_by)
    from done having count(*) > 0
)
select id, attempt, settled_by from done

-- name: lock_held
select t.id, t.attempt, t.instance_id, t.retry_count, t.max_retries, t.lost_count, t.release_count, t.agent_id
from unnest($1::bigint[], $2::int[], $3::uuid[]) as i (task_id, attempt, instance_id)
join agent_tasks t on t.id = any (array[i.task_id])
where t.status = 'running' and t.attempt = i.attempt and t.instance_id = i.instance_id
order by t.id
for update of t

-- name: settle
with settled as (
    update agent_tasks t
    set status = i.status, instance_id = null, deadline_at = null,
        agent_id = case when i.status = 'pending' and t.capability is not null then null else t.agent_id end,
        -- what need not wait keeps its place in the queue
        run_at = case when i.delay > interval '0' then greatest(t.run_at, now() + i.delay) else t.run_at end,
        completed_at = case when i.status <> 'pending' then now() end,
        result = case when i.status = 'failed'
                      then jsonb_build_object('success', false, 'error', i.error::jsonb ->> 'message') else t.result end,
        error = coalesce(i.error::jsonb, t.error),
        retry_count = i.retry_count, lost_count = i.lost_count, release_count = i.release_count,
        dead_letter = i.dead_letter, version = t.version + 1
    from unnest($1::bigint[], $2::int[], $3::text[], $4::interval[], $5::int[], $6::int[], $7::int[], $8::boolean[],
                $9::text[], $10::text[], $11::text[], $12::bigint[], $13::uuid[])
         as i (task_id, attempt, status, delay, retry_count, lost_count, release_count, dead_letter,
               error, outcome, outcome_error, held_by, instance_id)
    where t.id = any (array[i.task_id]) and t.status = 'running' and t.attempt = i.attempt
    returning t.id, t.attempt, t.started_at, t.timeout_ms, t.status, t.run_at, t.type, t.created_by, t.version, t.lane,
              i.outcome, i.outcome_error, i.held_by, i.instance_id
), ended as (
    insert into task_attempts (task_id, attempt, agent_id, instance_id, claimed_at, deadline_at, ended_at, outcome, error)
    select id, attempt, held_by, instance_id, started_at, started_at + timeout_ms * interval '1 millisecond', now(),
           outcome, outcome_error::jsonb
    from settled
), told as (
    insert into events (type, tasks, versions, attempts, agents, task_types, owners)
    select case when s.status = 'pending' then case s.outcome when 'released' then 'task.released'
                                                             when 'lost' then 'task.lost' else 'task.retried' end
                else 'task.' || s.status end,
           array_agg(s.id), array_agg(s.version), array_agg(s.attempt), array_agg(s.held_by), array_agg(s.type),
           array_agg(s.created_by)
    from settled s
    group by 1
)
select id, attempt, status, run_at, lane, greatest(extract(epoch from run_at - now()), 0)::float8 as wait_seconds
from settled

-- name: find_attempts
select i.ord, a.outcome, a.instance_id, t.status, t.run_at
from unnest($1::bigint[], $2::int[]) with ordinality as i (task_id, attempt, ord)
cross join lateral (select * from agent_tasks where id = i.task_id offset 0) t
cross join lateral (select * from attempts where task_id = i.task_id and attempt = i.attempt offset 0) a

-- name: record_progress
update agent_tasks t
set progress = jsonb_strip_nulls(jsonb_build_object(
        'percent', i.percent, 'message', i.message, 'at', now(),
        'data', coalesce(i.data::jsonb, t.progress -> 'data')))
from unnest($1::bigint[], $2::int[], $3::uuid[], $4::float8[], $5::text[], $6::text[])
     as i (task_id, attempt, instance_id, percent, message, data)
where t.id = any (array[i.task_id])
      and t.status = 'running' and t.attempt = i.attempt and t.instance_id = i.instance_id
returning t.id, t.attempt

-- name: held_by
-- What the database holds for these instances.
select t.id, t.attempt, t.instance_id, t.agent_id, t.type, t.payload, t.priority, t.timeout_ms, t.deadline_at,
       t.progress -> 'data' as checkpoint, t.lost_count > 0 as suspect
from claims c
cross join lateral unnest(c.tasks, c.attempts) as h (task_id, attempt)
cross join lateral (select * from agent_tasks where id = h.task_id offset 0) t
where c.instance_id = any ($1::uuid[])
  and t.status = 'running' and t.attempt = h.attempt and t.instance_id = c.instance_id

-- name: list_running
select t.instance_id, t.id, t.attempt
from claims c
cross join lateral unnest(c.tasks, c.attempts) as h (task_id, attempt)
cross join lateral (select * from agent_tasks where id = h.task_id offset 0) t
where c.instance_id = any ($1::uuid[])
  and t.status = 'running' and t.attempt = h.attempt and t.instance_id = c.instance_id

-- name: list_orphans
-- What runs in instances that are no longer alive.
select t.id, t.attempt, t.instance_id
from claims c
left join agent_instances n on n.id = c.instance_id and n.status in ('live', 'draining')
cross join lateral unnest(c.tasks, c.attempts) as h (task_id, attempt)
cross join lateral (select * from agent_tasks where id = h.task_id offset 0) t
where n.id is null and t.status = 'running' and t.attempt = h.attempt and t.instance_id = c.instance_id
limit $1

-- name: sweep_claims
-- Look at the claims whose time has come: what of them still runs, and past its deadline. The first row says how many
-- were looked at. A claim is looked at after one second, then each time it has doubled its age, and at its deadline;
-- as long as something of it is overdue it stays in front.
with due as materialized (
    select id, instance_id, tasks, attempts, claimed_at from claims
    where look_at <= now() order by look_at limit $1
    for update skip locked
), looked as materialized (
    select d.id, d.instance_id, d.claimed_at, r.tasks, r.attempts, r.deadlines, r.first_deadline
    from due d
    cross join lateral (
        select array_agg(t.id) as tasks, array_agg(t.attempt) as attempts, array_agg(t.deadline_at) as deadlines,
               min(t.deadline_at) as first_deadline
        from unnest(d.tasks, d.attempts) as h (task_id, attempt)
        cross join lateral (select * from agent_tasks where id = h.task_id offset 0) t
        where t.status = 'running' and t.attempt = h.attempt and t.instance_id = d.instance_id
    ) r
), ended as (
    delete from claims c using looked l where c.id = l.id and l.tasks is null
), kept as (
    update claims c
    set tasks = l.tasks, attempts = l.attempts,
        look_at = least(l.first_deadline, now() + greatest(now() - l.claimed_at, interval '1 second'))
    from looked l
    where c.id = l.id and l.first_deadline > now()
)
select count(*)::bigint as task_id, null::int as attempt, null::uuid as instance_id from due
union all
select o.task_id, o.attempt, l.instance_id
from looked l
cross join lateral unnest(l.tasks, l.attempts, l.deadlines) as o (task_id, attempt, deadline_at)
where o.deadline_at <= now()

-- name: get_tasks
select t.id, t.agent_id, r.name as agent_name, t.type, t.payload, t.priority, t.status, t.created_by, t.result,
       t.retry_count, t.max_retries, t.created_at, t.started_at, t.completed_at, t.capability, t.region, t.run_at,
       t.timeout_ms, t.attempt, t.lost_count, t.deadline_at, t.error, t.progress, t.dead_letter, t.idempotency_key,
       t.instance_id
from unnest($1::bigint[]) as i (id)
cross join lateral (select * from agent_tasks where id = i.id offset 0) t
left join agent_registry r on r.id = t.agent_id

-- name: list_tasks
-- Newest first. Filters that no index serves look at the newest 100,000 rows below the cursor.
select t.id, t.agent_id, r.name as agent_name, t.type, t.payload, t.priority, t.status, t.created_by, t.result,
       t.retry_count, t.max_retries, t.created_at, t.started_at, t.completed_at, t.capability, t.region, t.run_at,
       t.timeout_ms, t.attempt, t.lost_count, t.deadline_at, t.error, t.progress, t.dead_letter, t.idempotency_key,
       t.instance_id
from (
    select * from agent_tasks n
    where ($1::bigint is null or n.id < $1)
      and ($2::bigint is null or n.agent_id = $2)
      and ($3::text is null or n.created_by = $3)
      and ($4::boolean is not true or n.dead_letter)
    order by n.id desc
    limit 100000
) t
left join agent_registry r on r.id = t.agent_id
where ($5::text is null or t.status = $5)
  and ($6::text is null or t.type = $6)
  and ($7::text is null or t.capability = $7)
order by t.id desc
limit $8

-- name: cancel
with held as (
    select id, instance_id, attempt, started_at, deadline_at from agent_tasks
    where id = $1 and status in ('waiting', 'pending', 'running')
    for update
), cancelled as (
    update agent_tasks t
    -- it may have waited for a claim that began after it
    set status = 'cancelled', instance_id = null, deadline_at = null, completed_at = greatest(now(), t.started_at),
        version = t.version + 1
    from held h
    where t.id = h.id
    returning t.id, t.version, t.attempt, t.agent_id, t.type, t.created_by, t.completed_at, h.instance_id,
              h.started_at, h.deadline_at
), ended as (
    insert into task_attempts (task_id, attempt, agent_id, instance_id, claimed_at, deadline_at, ended_at, outcome)
    select id, attempt, agent_id, instance_id, started_at, deadline_at, completed_at, 'cancelled'
    from cancelled where instance_id is not null
), told as (
    insert into events (type, actor, tasks, versions, attempts, agents, task_types, owners)
    select 'task.cancelled', $2::text, array_agg(id), array_agg(version), array_agg(attempt), array_agg(agent_id),
           array_agg(type), array_agg(created_by)
    from cancelled having count(*) > 0
)
select id, attempt, instance_id from cancelled

-- name: redrive
with redriven as (
    update agent_tasks t
    set status = 'pending', retry_count = 0, lost_count = 0, release_count = 0, dead_letter = false, result = null,
        completed_at = null, run_at = now(), version = t.version + 1,
        agent_id = case when t.capability is not null then null else t.agent_id end
    where t.id = $1 and t.status = 'failed'
    returning t.id, t.version, t.attempt, t.agent_id, t.type, t.created_by, t.lane
), told as (
    insert into events (type, actor, tasks, versions, attempts, agents, task_types, owners)
    select 'task.redriven', $2::text, array_agg(id), array_agg(version), array_agg(attempt), array_agg(agent_id),
           array_agg(type), array_agg(created_by)
    from redriven having count(*) > 0
)
select id, lane from redriven

-- name: list_attempts
select a.attempt, a.agent_id, r.name as agent_name, a.instance_id, a.claimed_at, a.ended_at, a.outcome, a.error, a.usage
from attempts a
left join agent_registry r on r.id = a.agent_id
where a.task_id = $1
order by a.attempt

-- name: explain
-- A task and every agent that could take it, each with the gate that holds it back, if any.
select t.id, t.status, t.type, t.agent_id, t.capability, t.region, t.run_at, t.attempt, t.retry_count, t.max_retries,
       t.lost_count, t.rank, t.created_at, now() - t.run_at as due_for, now() - t.created_at as age, t.error,
       a.id as candidate_id, a.name as candidate_name, a.status as candidate_status, a.status_reason,
       agent_gate(a.removed_at, a.desired_status, a.status, a.health_status) as agent_gate,
       task_gate(t.status, t.run_at, t.capability, a.health_status, now()) as task_gate,
       a.task_types, s.instances, s.in_region, s.slots, s.held, s.suspects
from agent_tasks t
left join agent_registry a
       on (t.capability is null and a.id = t.agent_id)
       or (t.capability is not null and a.removed_at is null and a.capabilities @> array[t.capability])
left join lateral (
    select count(*) as instances,
           count(*) filter (where t.region is null or coalesce(n.region, a.region) = t.region) as in_region,
           coalesce(sum(n.slots) filter (where t.region is null or coalesce(n.region, a.region) = t.region), 0) as slots,
           coalesce(sum(h.held) filter (where t.region is null or coalesce(n.region, a.region) = t.region), 0) as held,
           count(*) filter (where h.suspects > 0) as suspects
    from agent_instances n
    left join lateral (
        select count(*) as held, count(*) filter (where x.lost_count > 0) as suspects
        from claims c
        cross join lateral unnest(c.tasks, c.attempts) as g (task_id, attempt)
        cross join lateral (select * from agent_tasks where id = g.task_id offset 0) x
        where c.instance_id = n.id and x.status = 'running' and x.attempt = g.attempt and x.instance_id = n.id
    ) h on true
    where n.agent_id = a.id and n.status = 'live'
) s on true
where t.id = $1
order by a.id

-- name: count_ahead
-- How many tasks of the same lane are claimed before this one, counted up to a thousand.
select count(*) from (
    select from agent_tasks o, agent_tasks t
    where t.id = $1 and o.ready and o.lane = t.lane and o.id <> t.id and o.run_at <= now()
      and (o.rank > t.rank or (o.rank = t.rank and (o.run_at, o.id) < (t.run_at, t.id)))
    limit 1000
) ahead

-- name: get_counts
select agent_id, capability, sum(waiting)::bigint as waiting, sum(pending)::bigint as pending,
       sum(running)::bigint as running, sum(completed)::bigint as completed, sum(failed)::bigint as failed,
       sum(cancelled)::bigint as cancelled, sum(execution_ms)::bigint as execution_ms
from task_counts
where $1::bigint is null or agent_id = $1
group by agent_id, capability

-- name: fold_counts
with folded as (
    delete from task_counts
    where ctid = any (array(select ctid from task_counts limit $1 for update skip locked))
    returning *
), summed as (
    insert into task_counts
    select agent_id, capability, sum(waiting), sum(pending), sum(running), sum(completed), sum(failed),
           sum(cancelled), sum(execution_ms)
    from folded group by agent_id, capability
    returning 1
)
select (select count(*) from folded) - (select count(*) from summed)

-- name: free_keys
-- One stretch of tasks above a number, in the order in which they were created: the keys of those that ended a day ago are
-- free. Says where to go on, and where to begin the next time, which is before the first task that still needs its key.
with looked as materialized (
    select id, created_at, completed_at, idempotency_key is not null as keyed
    from agent_tasks where id > $1 order by id limit $2
), freed as (
    update agent_tasks t set idempotency_key = null, request_hash = null
    from looked l
    where t.id = any (array[l.id]) and l.keyed and t.completed_at < now() - interval '24 hours'
    returning t.id
)
select max(l.id) as last,
       min(l.id) filter (where l.keyed and f.id is null) - 1 as settled,
       count(*) = $2 and max(l.created_at) < now() - interval '24 hours' as more,
       count(f.id) as n
from looked l
left join freed f on f.id = l.id

-- name: prune_tasks
-- One stretch of tasks above a number, in the order in which they were created: those that ended long ago go, but for dead
-- letters. A younger task than that ends it, for those after it are younger still.
with looked as materialized (
    select id, created_at from agent_tasks where id > $1 order by id limit $2
), gone as (
    delete from agent_tasks t
    using looked l
    where t.id = any (array[l.id]) and t.completed_at < now() - $3::interval and not t.dead_letter
    returning 1
)
select max(id) as last, count(*) = $2 and max(created_at) < now() - $3::interval as more,
       (select count(*) from gone) as n
from looked

-- name: count_of_agent
-- All tasks of an agent by one creator.
select count(*) from agent_tasks where agent_id = $1 and created_by = $2
