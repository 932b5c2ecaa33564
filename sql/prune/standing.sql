-- What stands of each transfer on this shard, in legs and decisions, a page of them after id $2 in
-- the order of ids. `change` is what its applied legs come to; the record of a batch (see
-- fold.sql) comes to what it moved. `is_old` where everything is from before $1. Which
-- ids are on the page is asked first, of the primary keys alone: else a page would cost a look at
-- everything that follows it.
with page as (
    select transfer_id from (
        (select distinct transfer_id from shardbank.leg where transfer_id > $2
          order by transfer_id limit $3)
        union all
        (select transfer_id from shardbank.decision where transfer_id > $2
          order by transfer_id limit $3)
    ) heads group by transfer_id order by transfer_id limit $3
), last as materialized (
    select transfer_id as id from page order by transfer_id desc limit 1
), standing as (
    select transfer_id, recorded_at < $1 as is_old, outcome = 'applied' as is_applied,
           outcome = 'applied' and account_id is null as is_batch,
           case when outcome <> 'applied' then 0
                when account_id is null then requested_amount
                else amount end as change,
           1 as legs, 0 as decisions, null::text as verdict, pg_column_size(leg) as bytes
      from shardbank.leg where transfer_id > $2 and transfer_id <= (select id from last)
    union all
    -- Never old: whoever once saw an intent, a saga or a hold open must find the legs that finished it.
    select transfer_id, false, false, false, 0, 0, 0, null, pg_column_size(intent)
      from shardbank.intent where transfer_id > $2 and transfer_id <= (select id from last)
    union all
    select transfer_id, false, false, false, 0, 0, 0, null, pg_column_size(saga)
      from shardbank.saga where transfer_id > $2 and transfer_id <= (select id from last)
    union all
    select transfer_id, false, false, false, 0, 0, 0, null, pg_column_size(hold)
      from shardbank.hold where transfer_id > $2 and transfer_id <= (select id from last)
    union all
    -- Old once it was settled long ago: whoever saw it open is gone by then, or his epoch is open and
    -- the cut-off before it. Looked for by its id, for no event stands without a leg beside it.
    select outbox.transfer_id, settled_at is not null and settled_at < $1, false, false, 0, 0, 0,
           null, pg_column_size(outbox)
      from page
      cross join unnest(array['debit_completed', 'credit_completed', 'credit_rejected']) as t (name)
      join shardbank.outbox on event_id = shardbank.event_id(page.transfer_id, t.name)
    union all
    select transfer_id, decided_at < $1, false, false, 0, 0, 1,
           verdict, pg_column_size(decision)
      from shardbank.decision where transfer_id > $2 and transfer_id <= (select id from last)
)
select transfer_id, bool_and(is_old) as is_old, bool_or(is_applied) as is_applied,
       bool_or(is_batch) as is_batch,
       sum(change)::bigint as change, sum(legs) as legs, sum(decisions) as decisions,
       max(verdict) as verdict, sum(bytes) as bytes
  from standing group by transfer_id order by transfer_id
