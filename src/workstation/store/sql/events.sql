-- name: list_events
-- Only below the oldest running transaction: a row that commits late is then never skipped.
select tx::text as tx, id, at, type, subject, actor, owner, data, items_of(events) as items
from events
where (tx, id) > ($1::text::xid8, $2::bigint)
  and tx < pg_snapshot_xmin(pg_current_snapshot())
  and ($3::text is null or type = $3 or ($3 like '%.' and starts_with(type, $3)))
-- the column, not the text of the same name that is shown: as text 1000 comes before 999
order by events.tx, events.id
limit $4

-- name: newest_events
select * from (
    select tx::text as tx, id, at, type, subject, actor, owner, data, items_of(events) as items, tx as place
    from events
    where tx < pg_snapshot_xmin(pg_current_snapshot())
      and ($1::text is null or type = $1 or ($1 like '%.' and starts_with(type, $1)))
    order by tx desc, id desc
    limit $2
) newest
order by place, id
