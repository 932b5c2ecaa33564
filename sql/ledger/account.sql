-- One row is one account and what it holds now, in minor units of money.
create table shardbank.account (
    id              bigint not null,
    balance         bigint not null,
    held            bigint not null default 0,
    opening_balance bigint not null,
    closed          boolean not null default false,
    fence_epoch     integer not null default 0,
    fence           bigint not null default 0,
    fence_holder    uuid,
    constraint balance_is_not_negative check (balance >= 0),
    constraint held_is_covered check (held >= 0 and held <= balance)
) with (fillfactor = 80);
