-- One row is one seat that is on sale, or was: who has reserved it until when, by this server's
-- clock, and who has bought it. A seat is sold exactly while sold_to is set.
create table shardbank.seat (
    id             bigint primary key,
    state          text not null default 'available',
    reserved_by    uuid,
    reserved_until timestamptz,
    sold_to        uuid,
    fence_epoch    integer not null default 0,
    fence          bigint not null default 0,
    fence_holder   uuid,
    constraint state_is_known check (state in ('available', 'reserved', 'sold')),
    constraint reserved_by_somebody_for_a_time check (
        (state = 'reserved') = (reserved_by is not null)
        and (reserved_by is null) = (reserved_until is null)),
    constraint sold_to_somebody check ((state = 'sold') = (sold_to is not null))
) with (fillfactor = 50);

-- Who looks for a free seat passes over none that are sold.
create index seat_unsold on shardbank.seat (id) where sold_to is null;
