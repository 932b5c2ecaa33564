-- Every transfer whose applied legs on this shard do not cancel out, in the order of ids. Those
-- that do are whole by themselves.
select transfer_id, sum(amount)::bigint as change
  from shardbank.leg where outcome = 'applied'
 group by transfer_id having sum(amount) <> 0 order by transfer_id
