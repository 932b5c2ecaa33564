-- One row is what one account has promised to a transfer, on the account's shard: the source's money
-- is set aside, the target can take it. It goes from `held` to `confirmed` or `cancelled`, once, by
-- what the decision on its home shard says, and is never deleted. `expires_at` is by this server's
-- clock: from then on anybody may ask home for the verdict.
create table shardbank.hold (
    transfer_id        uuid not null,
    account_id         bigint not null,
    counter_account_id bigint not null,
    amount             bigint not null,
    epoch              bigint not null,
    recorded_at        timestamptz not null default clock_timestamp(),
    expires_at         timestamptz not null,
    home_shard         integer not null,
    kind               text not null,
    state              text not null default 'held',
    primary key (transfer_id, account_id),
    constraint kind_is_known check (kind in ('debit', 'credit')),
    constraint state_is_known check (state in ('held', 'confirmed', 'cancelled'))
);
create index hold_open on shardbank.hold (account_id) where state = 'held';
