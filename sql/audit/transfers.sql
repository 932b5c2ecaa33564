-- Every transfer whose applied legs on this shard do not cancel out, in the order of ids. Those
-- that do are whole by themselves. A record of prune counts with what it moved.
select transfer_id,
       sum(case when account_id is null then requested_amount else amount end)::bigint as change
  from shardbank.leg where outcome = 'applied'
 group by transfer_id
having sum(case when account_id is null then requested_amount else amount end) <> 0
 order by transfer_id
