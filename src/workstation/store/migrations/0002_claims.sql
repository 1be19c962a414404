-- A life of a task writes less: the try that is under way, or that completed the task, is told by the task's own row, and
-- task_attempts has one row for each try that ended in any other way.
-- Safe while replicas of the first schema run: what they write is understood, see the trigger at the end.
-- oldest: 1

alter table agent_tasks add column settled_by uuid;   -- the instance whose result was accepted
alter table agent_tasks add column usage jsonb;       -- what that try used

-- A task changes once or twice within its page: there is room for it, so that no index is written again.
alter table agent_tasks set (fillfactor = 45);

-- What was given to an instance at one moment. A hint where to look for what runs, no more: an attempt is under way
-- when the row of its task says so. Rows go when nothing of theirs runs any longer.
create table claims (
    id bigserial primary key,
    instance_id uuid not null,
    tasks bigint[] not null,
    attempts integer[] not null,
    claimed_at timestamptz not null default now(),
    look_at timestamptz not null,                     -- not after the first deadline
    constraint each_task_has_its_attempt check (cardinality(tasks) = cardinality(attempts))
) with (
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_cost_delay = 0
);
create index claims_of_instance on claims (instance_id);
create index claims_to_look_at on claims (look_at);

insert into claims (instance_id, tasks, attempts, look_at)
select t.instance_id, array_agg(t.id), array_agg(t.attempt), now()
from task_attempts a
join agent_tasks t on t.id = a.task_id and t.attempt = a.attempt and t.status = 'running'
where a.outcome is null
group by t.instance_id;

-- Every try at a task, as if each were a row. To be asked for one task at a time, laterally: a join reads it whole.
create view attempts as
select task_id, attempt, agent_id, instance_id, claimed_at, deadline_at, ended_at, outcome, error, usage
from task_attempts where outcome is not null
union all
select id, attempt, agent_id, instance_id, started_at, deadline_at, null::timestamptz, null::text, null::jsonb, null::jsonb
from agent_tasks where status = 'running'
union all
select id, attempt, agent_id, settled_by, started_at, started_at + timeout_ms * interval '1 millisecond', completed_at,
       'completed'::text, null::jsonb, usage
from agent_tasks where status = 'completed' and settled_by is not null;

-- That the agent of a task exists is asked once for each statement and agent, by the counts that every statement leaves,
-- not once for each row.
alter table task_counts add constraint counted_agent_is_registered foreign key (agent_id) references agent_registry (id);
alter table agent_tasks drop constraint agent_tasks_agent_id_fkey;
-- Declared all the same where that is possible, for those who read the schema.
do $$
begin
    if current_setting('server_version_num')::int >= 180000 then
        -- as text, because older versions refuse to read it
        execute 'alter table agent_tasks add constraint agent_tasks_agent_id_fkey
            foreign key (agent_id) references agent_registry (id) not enforced';
    end if;
end $$;

-- A replica of the first schema keeps the attempts under way here, and nowhere else.
create function claim_of_attempt() returns trigger language plpgsql as $$
begin
    insert into claims (instance_id, tasks, attempts, look_at)
    values (new.instance_id, array[new.task_id], array[new.attempt], least(new.deadline_at, now() + interval '1 second'));
    return null;
end $$;
create trigger open_attempts_are_claims after insert on task_attempts
    for each row when (new.outcome is null) execute function claim_of_attempt();
