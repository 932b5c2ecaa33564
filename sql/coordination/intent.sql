-- One row is a transfer under locks whose debit is made: the promise that its credit follows, or a
-- refund. It stands on the source's shard, written in the debit's own transaction, and is `open`
-- until the credit or the refund is there: then it is `done` or `refunded`. It is never pruned, nor
-- are its legs: whoever once saw it open may come back to credit it, and must find that it was.
create table shardbank.intent (
    transfer_id  uuid primary key,
    source       bigint not null,
    target       bigint not null,
    amount       bigint not null,
    fence        bigint not null,
    epoch        bigint not null,
    recorded_at  timestamptz not null default clock_timestamp(),
    fence_epoch  integer not null,
    state        text not null default 'open',
    strategy     text not null,
    constraint state_is_known check (state in ('open', 'done', 'refunded'))
);
create index intent_open_by_source on shardbank.intent (source) where state = 'open';
