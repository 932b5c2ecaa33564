-- One row is a lock service that granted, or grants, the tokens of its epoch. On shard 0. Raised
-- when the service or its identity changes, for tokens of two services cannot be compared. The
-- sequence gives the tokens of advisory locks on this shard's accounts.
create table shardbank.lock_epoch (
    epoch      integer primary key,
    service    text not null,
    service_id text not null,
    raised_at  timestamptz not null default clock_timestamp()
);
create sequence shardbank.lock_token;
