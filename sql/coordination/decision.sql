-- One row is the verdict on one transfer, on its home shard. The first writer decides. A `commit`
-- names the shards of its effects, that of the debit first; it binds no others that have its id
-- (null: it binds whatever has it).
create table shardbank.decision (
    transfer_id  uuid primary key,
    decided_at   timestamptz not null default clock_timestamp(),
    verdict      text not null,
    participants integer[],
    decided_by   text not null,
    reason       text,
    constraint verdict_is_known check (verdict in ('commit', 'abort'))
);
