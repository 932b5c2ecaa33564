-- The one row says which shard of which cluster this database is. It is written last, when all
-- shards have everything else; without it nobody works here.
create table shardbank.shard (
    cluster_id     uuid not null,
    shard_index    integer not null,
    shard_count    integer not null,
    schema_version integer not null,
    opening_total  numeric not null,
    created_at     timestamptz not null default clock_timestamp(),
    constraint shard_is_one_of_the_cluster check (shard_index between 0 and shard_count - 1)
);

create unique index shard_has_one_row on shardbank.shard ((true));
