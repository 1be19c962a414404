-- name: durability
select current_setting('fsync') = 'on' as fsync,
       current_setting('synchronous_commit') <> 'off' as synchronous_commit,
       current_setting('full_page_writes') = 'on' as full_page_writes
