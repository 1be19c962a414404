-- The registry, the task queue and what stands around them.
-- agent_registry and agent_tasks hold the documented columns first, with their documented defaults; ours follow,
-- every one with a default, so that a plain INSERT of the documented columns is right by itself.

create sequence registry_revision;

create table agent_registry (
    id bigserial primary key,
    name varchar(255) not null,
    type varchar(100) not null,
    container_name varchar(255),
    status varchar(50) default 'stopped',
    health_status varchar(50) default 'unknown',
    capabilities text[],
    metadata jsonb,
    last_health_check timestamptz,
    created_at timestamptz default current_timestamp,

    desired_status text,                              -- null on insert: filled in by registry_defaults
    spec jsonb,                                       -- how to run it: {"builtin": …} | {"command": […]} | {"image": …}
    region text,
    max_concurrency integer,                          -- tasks at once for each instance; null: MAX_CONCURRENT_TASKS
    task_types jsonb,                                 -- {type: JSON Schema or null}; null: not declared
    runtime text generated always as (
        case when spec ? 'builtin' or spec ? 'command' then 'process'
             when spec is not null or container_name is not null then 'docker'
             else 'external' end) stored,
    built_in boolean not null default false,
    reported_health text,                             -- the last word an agent or reporter said
    health_metadata jsonb,
    health_reported_at timestamptz,
    health_interval_ms integer,                       -- how often it says it reports; null: not said
    unhealthy_since timestamptz,
    status_reason text,                               -- why it is in this status, one sentence
    status_changed_at timestamptz not null default now(),
    start_attempts timestamptz[] not null default '{}',  -- starts since the last order, for the crash bound
    next_start_at timestamptz,                        -- a crashed agent is started again from here on
    generation integer not null default 0,            -- counts orders (start, stop, restart)
    force_stop boolean not null default false,
    restart_at timestamptz,                           -- copies started before this are to be replaced
    version integer not null default 1,
    updated_at timestamptz not null default now(),
    removed_at timestamptz,
    changed_tx xid8 not null default pg_current_xact_id(),

    constraint status_is_known check (status in ('stopped', 'starting', 'running', 'stopping', 'error')),
    constraint health_is_known check (health_status in ('unknown', 'healthy', 'degraded', 'unhealthy')),
    constraint reported_health_is_known check (reported_health in ('healthy', 'degraded', 'unhealthy')),
    constraint desired_status_is_known check (desired_status in ('running', 'stopped')),
    constraint concurrency_is_positive check (max_concurrency > 0)
);
create unique index agent_names_are_unique on agent_registry (name) where removed_at is null;
create index agent_registry_changed on agent_registry (changed_tx);
create index agent_registry_capabilities on agent_registry using gin (capabilities) where removed_at is null;

-- An agent without a way to start it (no spec, no container) runs elsewhere: it is wanted from its registration on.
create function registry_defaults() returns trigger language plpgsql as $$
begin
    new.status := coalesce(new.status, 'stopped');
    new.health_status := coalesce(new.health_status, 'unknown');
    new.capabilities := coalesce(new.capabilities, '{}');
    new.desired_status := coalesce(
        new.desired_status,
        case when new.status = 'running' or (new.spec is null and new.container_name is null)
             then 'running' else 'stopped' end);
    return new;
end $$;
create trigger registry_defaults before insert on agent_registry
    for each row execute function registry_defaults();

-- Readers of the registry follow changed_tx; what only heartbeats touch does not count as a change.
create function registry_changed() returns trigger language plpgsql as $$
begin
    if (new.name, new.type, new.status, new.health_status, new.capabilities, new.desired_status, new.spec, new.region,
        new.max_concurrency, new.task_types, new.removed_at, new.container_name, new.generation)
       is distinct from
       (old.name, old.type, old.status, old.health_status, old.capabilities, old.desired_status, old.spec, old.region,
        old.max_concurrency, old.task_types, old.removed_at, old.container_name, old.generation) then
        new.changed_tx := pg_current_xact_id();
        new.version := old.version + 1;
        new.updated_at := now();
    end if;
    if new.status is distinct from old.status then
        new.status_changed_at := now();
    end if;
    return new;
end $$;
create trigger registry_changed before update on agent_registry
    for each row execute function registry_changed();

create table nodes (
    id uuid primary key,
    version text not null,
    url text,
    key_fingerprint text,
    started_at timestamptz not null default now(),
    lease_expires_at timestamptz not null
);

-- One start of an agent by a runtime driver, found again after our own restart by its handle.
create table agent_launches (
    id uuid primary key,
    agent_id bigint not null references agent_registry (id),
    replica integer not null default 0,
    node_id uuid,
    driver text not null,
    handle jsonb,
    status text not null default 'starting',
    started_at timestamptz not null default now(),
    ready_at timestamptz,
    stopping_at timestamptz,
    ended_at timestamptz,
    exit_code integer,
    reason text,
    constraint launch_status_is_known check (status in ('starting', 'running', 'stopping', 'ended')),
    constraint ended_launch_has_its_time check ((status = 'ended') = (ended_at is not null))
);
create unique index one_open_launch_for_each_replica on agent_launches (agent_id, replica) where status <> 'ended';
create index agent_launches_by_agent on agent_launches (agent_id, started_at desc);

-- One running copy of an agent; leases belong to it. Its id is made anew at every process start.
create table agent_instances (
    id uuid primary key,
    agent_id bigint not null references agent_registry (id),
    launch_id uuid,
    node_id uuid,
    status text not null default 'live',
    slots integer not null,
    region text,
    version text,
    health_status text not null default 'unknown',
    lease_expires_at timestamptz not null,
    started_at timestamptz not null default now(),
    ended_at timestamptz,
    reason text,
    constraint instance_status_is_known check (status in ('live', 'draining', 'ended', 'dead')),
    constraint ended_instance_has_its_time check ((status in ('ended', 'dead')) = (ended_at is not null))
) with (fillfactor = 50);
create index agent_instances_alive on agent_instances (agent_id) where status in ('live', 'draining');
create index agent_instances_by_agent on agent_instances (agent_id, started_at desc);

create table agent_tasks (
    id bigserial primary key,
    agent_id bigint references agent_registry (id),
    type varchar(100) not null,
    payload jsonb not null,
    priority integer default 5,
    status varchar(50) default 'pending',
    created_by varchar(255),
    result jsonb,
    retry_count integer default 0,
    max_retries integer default 3,
    created_at timestamptz default current_timestamp,
    started_at timestamptz,
    completed_at timestamptz,

    capability text,
    region text,
    lane text generated always as (
        case when capability is not null then 'c' || capability else 'a' || agent_id::text end
        || coalesce('@' || region, '')) stored,
    ready boolean generated always as (status = 'pending') stored,
    rank integer generated always as (coalesce(priority, 5)) stored,
    run_at timestamptz not null default now(),
    timeout_ms integer not null default 30000,
    attempt integer not null default 0,
    lost_count integer not null default 0,
    release_count integer not null default 0,
    instance_id uuid,
    deadline_at timestamptz,
    error jsonb,
    progress jsonb,
    dead_letter boolean not null default false,
    idempotency_key text,
    request_hash bytea,
    version integer not null default 1,

    constraint task_status_is_known
        check (status in ('waiting', 'pending', 'running', 'completed', 'failed', 'cancelled')),
    constraint priority_is_1_to_10 check (priority between 1 and 10),
    constraint task_names_an_agent_or_a_capability check (agent_id is not null or capability is not null),
    constraint held_only_while_running check ((status = 'running') = (instance_id is not null)),
    constraint deadline_only_while_running check ((status = 'running') = (deadline_at is not null)),
    constraint final_has_its_time
        check ((status in ('completed', 'failed', 'cancelled')) = (completed_at is not null)),
    constraint dead_letter_is_failed check (not dead_letter or status = 'failed')
) with (
    fillfactor = 70,
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 2000,
    autovacuum_vacuum_insert_scale_factor = 0.1,
    autovacuum_analyze_scale_factor = 0.05,
    autovacuum_vacuum_cost_delay = 0
);
-- What may be claimed, in the order in which it is claimed. No index names a column that settling changes.
create index task_queue on agent_tasks (lane, rank desc, run_at, id) where ready;
create index tasks_of_agent on agent_tasks (agent_id, id);
create index tasks_of_creator on agent_tasks (created_by, id);
create index dead_letters on agent_tasks (id) where dead_letter;
create unique index idempotency_keys on agent_tasks (created_by, idempotency_key) where idempotency_key is not null;

-- One row for each try. Partitioned by day, so that history goes by dropping a table.
create table task_attempts (
    task_id bigint not null,
    attempt integer not null,
    agent_id bigint not null,
    instance_id uuid not null,
    claimed_at timestamptz not null,
    deadline_at timestamptz not null,
    ended_at timestamptz,
    outcome text,
    error jsonb,
    usage jsonb,
    constraint outcome_is_known
        check (outcome in ('completed', 'failed', 'timed_out', 'released', 'lost', 'cancelled')),
    constraint ended_has_its_outcome check ((outcome is null) = (ended_at is null)),
    primary key (task_id, attempt, claimed_at)
) partition by range (claimed_at);
create table task_attempts_default partition of task_attempts default;
create index task_attempts_open on task_attempts (instance_id) where outcome is null;

-- Append only. A row may tell of many tasks, one at each place of its arrays.
-- Read by (tx, id) and only below the oldest running transaction, or rows that commit late are missed.
create table events (
    id bigserial,
    tx xid8 not null default pg_current_xact_id(),
    at timestamptz not null default now(),
    type text not null,
    subject text,
    actor text,
    owner text,
    data jsonb,
    tasks bigint[],
    versions integer[],
    attempts integer[],
    agents bigint[],
    task_types text[],
    owners text[],
    primary key (tx, id, at)
) partition by range (at);
create table events_default partition of events default;

-- The tasks an event tells of, as [[task, version, attempt, agent, type, owner], …]; null for other events.
create function items_of(e events) returns jsonb language sql stable as $$
    select jsonb_agg(jsonb_build_array(i.task, i.version, i.attempt, i.agent, i.type, i.owner) order by i.place)
    from unnest(e.tasks, e.versions, e.attempts, e.agents, e.task_types, e.owners)
         with ordinality as i (task, version, attempt, agent, type, owner, place)
$$;

create table tokens (
    id uuid primary key,
    subject text not null,
    role text not null,
    agent_id bigint references agent_registry (id),
    launch_id uuid,
    created_by text,
    created_at timestamptz not null default now(),
    expires_at timestamptz not null,
    revoked_at timestamptz,
    constraint role_is_known check (role in ('admin', 'operator', 'user', 'viewer', 'agent')),
    constraint agent_token_names_its_agent check ((role = 'agent') = (agent_id is not null))
);
create index tokens_revoked on tokens (revoked_at) where revoked_at is not null;
create index tokens_of_launch on tokens (launch_id) where launch_id is not null;

create table audit_log (
    id bigserial primary key,
    at timestamptz not null default now(),
    actor text not null,
    role text,
    action text not null,
    object text,
    status integer not null,
    detail jsonb,
    request_id text
);

-- How many tasks are in which state. Rows are changes; the count is their sum; the janitor folds them.
-- agent_id is null for tasks that wait for any agent with a capability.
create table task_counts (
    agent_id bigint,
    capability text,
    waiting bigint not null default 0,
    pending bigint not null default 0,
    running bigint not null default 0,
    completed bigint not null default 0,
    failed bigint not null default 0,
    cancelled bigint not null default 0,
    execution_ms bigint not null default 0
);
create index task_counts_of_agent on task_counts (agent_id);

-- Kept by the database itself, so that no path, a hand-written INSERT included, can leave the counts wrong.
create function count_tasks() returns trigger language plpgsql as $$
begin
    if tg_op = 'INSERT' then
        insert into task_counts
        select agent_id, case when agent_id is null then capability end,
               count(*) filter (where status = 'waiting'), count(*) filter (where status = 'pending'),
               count(*) filter (where status = 'running'), count(*) filter (where status = 'completed'),
               count(*) filter (where status = 'failed'), count(*) filter (where status = 'cancelled'),
               coalesce(sum((extract(epoch from completed_at - started_at) * 1000)::bigint)
                        filter (where status = 'completed'), 0)
        from new_rows group by 1, 2;
    elsif tg_op = 'TRUNCATE' then
        insert into task_counts
        select agent_id, capability, -sum(waiting), -sum(pending), -sum(running), 0, 0, 0, 0
        from task_counts group by 1, 2;
    elsif tg_op = 'DELETE' then
        -- finished tasks that are pruned stay counted
        insert into task_counts
        select agent_id, case when agent_id is null then capability end,
               -count(*) filter (where status = 'waiting'), -count(*) filter (where status = 'pending'),
               -count(*) filter (where status = 'running'), 0, 0, 0, 0
        from old_rows where status in ('waiting', 'pending', 'running') group by 1, 2;
    else
        insert into task_counts
        select agent_id, capability, waiting, pending, running, completed, failed, cancelled, ms
        from (
            select agent_id, case when agent_id is null then capability end as capability,
                   sum(case when status = 'waiting' then n else 0 end) as waiting,
                   sum(case when status = 'pending' then n else 0 end) as pending,
                   sum(case when status = 'running' then n else 0 end) as running,
                   sum(case when status = 'completed' then n else 0 end) as completed,
                   sum(case when status = 'failed' then n else 0 end) as failed,
                   sum(case when status = 'cancelled' then n else 0 end) as cancelled,
                   sum(case when status = 'completed' and started_at is not null
                       then n * (extract(epoch from completed_at - started_at) * 1000)::bigint else 0 end) as ms
            from (
                select 1 as n, agent_id, capability, status, started_at, completed_at from new_rows
                union all
                select -1, agent_id, capability, status, started_at, completed_at from old_rows
            ) changes
            group by 1, 2
        ) summed
        where waiting <> 0 or pending <> 0 or running <> 0 or completed <> 0 or failed <> 0 or cancelled <> 0;
    end if;
    return null;
end $$;
create trigger count_inserted_tasks after insert on agent_tasks
    referencing new table as new_rows for each statement execute function count_tasks();
create trigger count_updated_tasks after update on agent_tasks
    referencing old table as old_rows new table as new_rows for each statement execute function count_tasks();
create trigger count_deleted_tasks after delete on agent_tasks
    referencing old table as old_rows for each statement execute function count_tasks();
create trigger count_truncated_tasks after truncate on agent_tasks
    for each statement execute function count_tasks();

-- The gates. The claim and the explanation of a waiting task ask these same functions.
-- Null: open. Otherwise the name of the gate that holds.
create function agent_gate(
    removed_at timestamptz, desired_status text, status text, health_status text
) returns text language sql immutable parallel safe as $$
    select case
        when removed_at is not null then 'agent_removed'
        when desired_status <> 'running' then 'agent_stopped'
        when status <> 'running' then 'agent_not_running'
        when health_status = 'unhealthy' then 'agent_unhealthy'
    end
$$;
-- A degraded agent takes capability tasks only 5 s after they are due, so that healthy ones go first.
create function task_gate(
    status text, run_at timestamptz, capability text, health_status text, at timestamptz
) returns text language sql immutable parallel safe as $$
    select case
        when status <> 'pending' then 'not_pending'
        when run_at > at then 'not_due'
        when capability is not null and health_status = 'degraded' and run_at > at - interval '5 seconds'
            then 'agent_degraded'
    end
$$;
