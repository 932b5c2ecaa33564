-- One row is one life of a coordinator process. Its epoch is never used again.
create table shardbank.coordinator (
    epoch      bigint primary key generated always as identity,
    name       text not null,
    started_at timestamptz not null default clock_timestamp(),
    ended_at   timestamptz
);
