-- name: make_partitions
-- Another starter may be doing the same: the lock makes one wait, and the second look finds them made.
do $$
declare
    parent text;
    clock text;
    today date;
    part text;
begin
    perform pg_advisory_xact_lock(hashtext('workstation partitions'));
    foreach parent in array array['task_attempts', 'events'] loop
        clock := case parent when 'events' then 'at' else 'claimed_at' end;
        for today in select generate_series(current_date, current_date + $1, interval '1 day')::date loop
            part := parent || '_' || to_char(today, 'YYYYMMDD');
            if to_regclass(part) is null then
                begin
                    execute format('create table %I partition of %I for values from (%L) to (%L)',
                                   part, parent, today::timestamptz, (today + 1)::timestamptz);
                exception when check_violation then
                    -- rows of that day are in the default partition already: the day stays there
                    null;
                end;
            end if;
        end loop;
    end loop;
end $$

-- name: lock_partitions
select pg_advisory_xact_lock(hashtext('workstation partitions'))

-- name: wait_briefly
set local lock_timeout = '200ms'

-- name: list_expired
select c.relname as name
from pg_inherits i
join pg_class c on c.oid = i.inhrelid
where i.inhparent = to_regclass($1) and c.relname ~ ('^' || $1 || '_[0-9]{8}$')
  and to_date(right(c.relname, 8), 'YYYYMMDD') + interval '1 day' < now() - $2::interval
order by 1

-- name: prune_attempts
-- Rows that came before their partition was made, or by hand.
delete from task_attempts_default
where ctid = any (array(
    select ctid from task_attempts_default where claimed_at < now() - $2::interval and outcome is not null limit $1
))

-- name: prune_events
delete from events_default
where ctid = any (array(select ctid from events_default where at < now() - $2::interval limit $1))
