-- Decisions that the legs of their own shard contradict: committed without an applied leg, or
-- aborted with one. A home shard holds one leg of each of its transfers.
select d.transfer_id, d.verdict
  from shardbank.decision d
 where (d.verdict = 'commit') <> exists (
           select from shardbank.leg l
            where l.transfer_id = d.transfer_id and l.outcome = 'applied')
 order by d.transfer_id limit 1000
