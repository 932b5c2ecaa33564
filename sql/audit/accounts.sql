-- The totals of one shard, and what is wrong with single accounts: the ledger must explain every
-- balance, open holds whatever is held, and nothing may be negative or held without cover. Applied legs without an account are
-- the records of prune: what its batches moved into the opening balances of this shard.
with explained as (
    select account_id as id, sum(amount) as change, sum(requested_amount) as requested
      from shardbank.leg where outcome = 'applied' group by account_id
), promised as (
    select account_id as id, sum(amount) as held
      from shardbank.hold where state = 'held' and kind = 'debit' group by account_id
), book as (
    select coalesce(a.id, e.id) as id, a.balance, a.held, a.opening_balance,
           coalesce(p.held, 0) as promised,
           coalesce(e.change, 0) as change, e.requested,
           a.id is null and (e.id is not null or e.change <> 0) as missing
      from shardbank.account a full join explained e on e.id = a.id
      left join promised p on p.id = a.id
)
select count(balance)                                  as accounts,
       coalesce(sum(balance), 0)::text                 as balance_total,
       coalesce(sum(opening_balance), 0)::text         as opening_total,
       coalesce(sum(requested) filter (where id is null), 0)::text as folded,
       count(*) filter (where missing)                 as missing,
       count(*) filter (where balance <> opening_balance + change or held <> promised)
                                                       as unexplained,
       count(*) filter (where balance < 0 or held < 0 or held > balance) as negative,
       (array_agg(format('account %s: balance %s, held %s by holds of %s, opening balance %s, legs %s',
                         id, balance, held, promised, opening_balance, change))
            filter (where missing or balance <> opening_balance + change or held <> promised
                       or balance < 0 or held < 0 or held > balance))[1:20] as offending
  from book
