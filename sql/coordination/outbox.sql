-- One row is one event of a transfer by events: a message, written in the transaction whose change it
-- announces, on that change's shard. `debit_completed` goes from the source's shard to the target's;
-- `credit_completed` or `credit_rejected` comes back. `account_id` is the transfer's source, whose
-- events keep their order, by `position`. An event is sent when its addressee has committed what it
-- asks for. It is settled when nobody need do anything about it: an answer once it is sent, a
-- `debit_completed` once it has its own `answer`, which is the transfer's end. Until then `held_until`
-- is how long one relay has it to itself, or how long it rests after a try that failed; one that
-- cannot be handled is parked, and all later ones of its account wait behind it. (The inbox is `leg`.)
create table shardbank.outbox (
    event_id    uuid primary key,
    transfer_id uuid not null,
    position    bigint not null generated always as identity,
    account_id  bigint not null,
    target      bigint not null,
    amount      bigint not null,
    epoch       bigint not null,
    recorded_at timestamptz not null default clock_timestamp(),
    held_until  timestamptz,
    sent_at     timestamptz,
    settled_at  timestamptz,
    attempts    integer not null default 0,
    is_parked   boolean not null default false,
    type        text not null,
    reason      text,
    answer      text,
    last_error  text,
    constraint type_is_known
        check (type in ('debit_completed', 'credit_completed', 'credit_rejected')),
    constraint answer_is_known
        check (answer is null or type = 'debit_completed'
                                 and answer in ('transfer_completed', 'transfer_refunded'))
) with (fillfactor = 50);
create index outbox_open on shardbank.outbox (position) where settled_at is null;
create index outbox_open_by_account on shardbank.outbox (account_id, position)
 where settled_at is null;
