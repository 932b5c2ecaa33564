-- Decisions that the legs of their own shard contradict: committed without an applied leg, or
-- aborted with one of a strategy that asks the register. (Another call with the same id, under locks
-- or by a saga, may have gone through.) A home shard holds one leg of each of its transfers.
select d.transfer_id, d.verdict
  from shardbank.decision d
 where case d.verdict
           when 'commit' then not exists (
               select from shardbank.leg l
                where l.transfer_id = d.transfer_id and l.outcome = 'applied')
           else exists (
               select from shardbank.leg l
                where l.transfer_id = d.transfer_id and l.outcome = 'applied'
                  and l.strategy !~ '^(lock-|saga|recovery$)')
       end
 order by d.transfer_id limit 1000
