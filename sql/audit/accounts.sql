-- The totals of one shard, and what is wrong with single accounts: the ledger must explain every
-- balance, and nothing may be negative or held without cover.
with explained as (
    select account_id as id, sum(amount) as change
      from shardbank.leg where outcome = 'applied' group by account_id
), book as (
    select coalesce(a.id, e.id) as id, a.balance, a.held, a.opening_balance,
           coalesce(e.change, 0) as change, a.id is null as missing
      from shardbank.account a full join explained e on e.id = a.id
)
select count(*) filter (where not missing)             as accounts,
       coalesce(sum(balance), 0)::text                 as balance_total,
       coalesce(sum(opening_balance), 0)::text         as opening_total,
       count(*) filter (where missing)                 as missing,
       count(*) filter (where not missing and balance <> opening_balance + change) as unexplained,
       count(*) filter (where balance < 0 or held < 0 or held > balance) as negative,
       (array_agg(format('account %s: balance %s, held %s, opening balance %s, legs %s',
                         id, balance, held, opening_balance, change))
            filter (where missing or balance <> opening_balance + change
                       or balance < 0 or held < 0 or held > balance))[1:20] as offending
  from book
