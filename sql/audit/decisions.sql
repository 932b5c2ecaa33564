-- Decisions that the legs of their own shard contradict: committed without an applied leg, or
-- aborted with one of a strategy that asks the register. (Another call with the same id, under locks
-- or by a saga, may have gone through; and so may another order under that id, whose home, the last
-- of its two shards, is elsewhere.) A home shard holds one leg of each of its transfers.
select d.transfer_id, d.verdict
  from shardbank.decision d
 cross join shardbank.shard s
 where case d.verdict
           when 'commit' then not exists (
               select from shardbank.leg l
                where l.transfer_id = d.transfer_id and l.outcome = 'applied')
           else exists (
               select from shardbank.leg l
                where l.transfer_id = d.transfer_id and l.outcome = 'applied'
                  and l.strategy !~ '^(lock-|saga|recovery$)'
                  and coalesce(greatest((l.account_id - 1) % s.shard_count,
                                        (l.counter_account_id - 1) % s.shard_count),
                               s.shard_index) = s.shard_index)
       end
 order by d.transfer_id limit 1000
