-- One row is a saga whose debit is made: its log, written in the debit's own transaction, on the
-- source's shard. `debited` owes the credit, `compensating` a refund; `dead` was given up after too
-- many attempts and waits for an operator. Whether the credit ran is what its leg says, never this.
-- It is never pruned, nor are its legs: whoever once saw it open may come back to credit it.
create table shardbank.saga (
    transfer_id     uuid primary key,
    source          bigint not null,
    target          bigint not null,
    amount          bigint not null,
    epoch           bigint,
    recorded_at     timestamptz not null default clock_timestamp(),
    next_attempt_at timestamptz not null default clock_timestamp(),
    lease_until     timestamptz,
    attempts        integer not null default 0,
    state           text not null default 'debited',
    owner           text,
    last_error      text,
    constraint state_is_known
        check (state in ('debited', 'compensating', 'completed', 'refunded', 'dead'))
);
create index saga_open on shardbank.saga (next_attempt_at)
    where state not in ('completed', 'refunded');
