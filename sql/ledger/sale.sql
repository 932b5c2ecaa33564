-- One row is one payment for one seat. Nothing keeps a seat from having two: that no seat has is
-- what the audit proves, and a constraint would only hide who tried.
create table shardbank.sale (
    seat_id bigint not null,
    buyer   uuid not null,
    way     text not null,
    sold_at timestamptz not null default clock_timestamp()
);
