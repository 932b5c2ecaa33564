-- Folds what stands of transfers $1 from before $2 into the opening balances: the legs, events and
-- decisions go, each balance stays what opening balance and legs explain. The batch, $3, records
-- itself as a leg without an account: `requested_amount` is what it moved into the opening
-- balances of this shard, earlier records that it folds included. Over all shards that is 0. The
-- legs of a transfer of which an event is not settled, or was lately, stay.
with event as materialized (
    select event_id, transfer_id, settled_at is not null and settled_at < $2 as is_old
      from shardbank.outbox
     where event_id = any (array(
         select shardbank.event_id(id, t.name) from unnest($1::uuid[]) id
          cross join unnest(array['debit_completed', 'credit_completed', 'credit_rejected'])
                  as t (name)))
), gone as (
    delete from shardbank.leg where transfer_id = any($1) and recorded_at < $2
       and transfer_id not in (select transfer_id from event where not is_old)
    returning account_id, amount, requested_amount, outcome
), forgotten as (
    delete from shardbank.decision where transfer_id = any($1) and decided_at < $2
    returning transfer_id
), delivered as (
    delete from shardbank.outbox where event_id in (select event_id from event where is_old)
    returning transfer_id
), change as (
    select account_id, sum(amount)::bigint as change
      from gone where outcome = 'applied' and account_id is not null
     group by account_id having sum(amount) <> 0
), moved as (
    update shardbank.account a set opening_balance = a.opening_balance + c.change
      from change c where a.id = c.account_id
    returning a.id
), total as (
    select count(*) as legs,
           coalesce(sum(case when account_id is null then requested_amount else amount end)
                    filter (where outcome = 'applied'), 0)::bigint as change
      from gone
), recorded as (
    insert into shardbank.leg (transfer_id, kind, amount, outcome, requested_amount, strategy)
    select $3, 'debit', 0, 'applied', change, 'prune' from total
)
select legs, change, (select count(*) from delivered) as events,
       (select count(*) from forgotten) as decisions,
       (select count(*) from change) - (select count(*) from moved) as missing_accounts
  from total
