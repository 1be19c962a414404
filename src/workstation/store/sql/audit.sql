-- name: record
insert into audit_log (actor, role, action, object, status, detail, request_id)
select * from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::int[], $6::jsonb[], $7::text[])

-- name: list_entries
select id, at, actor, role, action, object, status, detail, request_id
from audit_log
where ($1::bigint is null or id < $1)
  and ($2::text is null or actor = $2)
  and ($3::text is null or action = $3)
order by id desc
limit $4

-- name: prune
delete from audit_log
where id = any (array(
    select id from (select id, at from audit_log order by id limit $1) oldest where at < now() - $2::interval
))
