-- Locks the accounts whose opening balance the fold of transfers $1 will change, in the order of
-- ids, so that whoever else takes more than one takes them in the same order.
select id from shardbank.account
 where id in (select account_id from shardbank.leg
               where transfer_id = any($1) and outcome = 'applied' and recorded_at < $2
               group by account_id having sum(amount) <> 0)
 order by id for no key update
