-- What each replica's machine believes the time to be, beside the database's clock, as the replica measured it.
alter table nodes
    add column clock_ahead_ms bigint,   -- negative where it is behind
    add column clock_error_ms bigint;   -- the measure may be wrong by so much
