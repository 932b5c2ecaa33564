-- One row is one effect of a transfer on one account, or the proof that it never will run.
-- It is written in the effect's own transaction: ledger, idempotence barrier and stored answer.
-- A reservation's leg is `held`, with amount 0, until it is confirmed (applied) or cancelled
-- (rejected); every other is final as it is written.
-- An applied leg without an account is prune's record of one batch: sql/prune/fold.sql.
create table shardbank.leg (
    transfer_id        uuid not null,
    amount             bigint not null,
    account_id         bigint,
    counter_account_id bigint,
    requested_amount   bigint,
    fence              bigint,
    recorded_at        timestamptz not null default clock_timestamp(),
    fence_epoch        integer,
    kind               text not null,
    outcome            text not null,
    strategy           text not null,
    reason             text,
    primary key (transfer_id, kind),
    constraint outcome_is_known check (outcome in ('applied', 'held', 'rejected', 'empty')),
    constraint only_an_applied_leg_moves_money check (outcome = 'applied' or amount = 0)
);
