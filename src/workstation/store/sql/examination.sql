-- name: clock
select clock_timestamp()

-- name: old_snapshots
-- Transactions that keep rows from being cleaned up: by a snapshot, or by a number of their own that is still open.
select pid, application_name, usename as user, coalesce(state, 'hidden') as state,
       clock_timestamp() - xact_start as age,
       greatest(age(backend_xmin), age(backend_xid)) as transactions
from pg_stat_activity
where datname = current_database() and pid <> pg_backend_pid()
  and (backend_type = 'client backend' or backend_type is null)
  and (backend_xmin is not null or backend_xid is not null)
  and (xact_start < clock_timestamp() - $1::interval
       or xact_start is null and greatest(age(backend_xmin), age(backend_xid)) > 100000)
order by xact_start nulls last
limit 5

-- name: prepared_transactions
select gid, owner, clock_timestamp() - prepared as age
from pg_prepared_xacts
where database = current_database() and prepared < clock_timestamp() - $1::interval
order by prepared
limit 5

-- name: idle_slots
select slot_name as name, xmin is not null as holds_rows,
       coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn), 0)::bigint as kept_bytes
from pg_replication_slots
where not active and (restart_lsn is not null or xmin is not null)
order by 3 desc
limit 5

-- name: dead_rows
-- Beside what autovacuum waits for: the table's own setting, else the database's.
select c.relname as name, s.n_live_tup as live, s.n_dead_tup as dead,
       clock_timestamp() - greatest(s.last_autovacuum, s.last_vacuum) as cleaned_ago,
       (coalesce(o.threshold, current_setting('autovacuum_vacuum_threshold')::float8)
        + coalesce(o.scale, current_setting('autovacuum_vacuum_scale_factor')::float8) * greatest(c.reltuples, 0))::bigint
           as awaited,
       current_setting('autovacuum')::boolean and current_setting('track_counts')::boolean and coalesce(o.enabled, true)
           as cleaned_by_itself
from pg_class c
join pg_stat_user_tables s on s.relid = c.oid
cross join lateral (
    select max(option_value) filter (where option_name = 'autovacuum_vacuum_threshold')::float8 as threshold,
           max(option_value) filter (where option_name = 'autovacuum_vacuum_scale_factor')::float8 as scale,
           max(option_value) filter (where option_name = 'autovacuum_enabled')::boolean as enabled
    from pg_options_to_table(c.reloptions)
) o
where c.relnamespace = (select relnamespace from pg_class where oid = 'agent_tasks'::regclass) and c.relkind = 'r'
order by s.n_dead_tup desc

-- name: connections
select (select sum(numbackends) from pg_stat_database)::int as open,
       current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
       - current_setting('reserved_connections')::int as most

-- name: default_partitions
select 'events' as parent, (select count(*) from (select from events_default limit 1001) e) as rows,
       to_regclass('events_' || to_char(current_date + 1, 'YYYYMMDD')) is not null as has_tomorrow
union all
select 'task_attempts', (select count(*) from (select from task_attempts_default limit 1001) a),
       to_regclass('task_attempts_' || to_char(current_date + 1, 'YYYYMMDD')) is not null

-- name: oldest_in_lanes
-- The task of each lane that has been due for longest, if for longer than this; found by hopping from lane to lane.
with recursive lanes as (
    (select lane from agent_tasks where ready order by lane limit 1)
    union all
    select (select t.lane from agent_tasks t where t.ready and t.lane > lanes.lane order by t.lane limit 1)
    from lanes where lanes.lane is not null
)
select o.id, o.waited
from lanes
cross join lateral (
    select d.id, now() - d.run_at as waited
    from generate_series(10, 1, -1) as r (rank)
    cross join lateral (
        select t.id, t.run_at from agent_tasks t
        where t.ready and t.lane = lanes.lane and t.rank = r.rank and t.run_at <= now() - $1::interval
        order by t.run_at limit 1
    ) d
    order by d.run_at limit 1
) o
where lanes.lane is not null
order by o.waited desc
limit 5

-- name: dead_letters
select count(*) as all, count(*) filter (where completed_at > now() - interval '1 hour') as recent,
       mode() within group (order by type) filter (where completed_at > now() - interval '1 hour') as type
from (select type, completed_at from agent_tasks where dead_letter order by id desc limit 10000) d

-- name: late_instances
select a.name, n.id, $1::interval - (n.lease_expires_at - now()) as silent_for
from agent_instances n
join agent_registry a on a.id = n.agent_id
where n.status in ('live', 'draining') and n.lease_expires_at < now() + $2::interval
order by n.lease_expires_at
limit 5

-- name: nodes
select id, url, version, lease_expires_at <= now() as gone, now() - lease_expires_at as gone_for,
       clock_ahead_ms, clock_error_ms
from nodes
order by started_at
