-- One row is one account and what it holds now, in minor units of money. No balance
-- is negative, because what is held is not and is covered.
create table shardbank.account (
    id              bigint not null,
    balance         bigint not null,
    held            bigint not null default 0,
    opening_balance bigint not null,
    closed          boolean not null default false,
    fence_epoch     integer not null default 0,
    fence           bigint not null default 0,
    fence_holder    uuid,
    constraint held_is_covered check (held >= 0 and held <= balance)
) with (fillfactor = 80);
