-- The steps of a saga: each inserts its own leg first, in its own transaction. None looks at a fence:
-- fences bind the strategies under locks only.

-- The compensatable step, with the saga's log row.
create function shardbank.debit_with_saga(
    p_transfer uuid, p_source bigint, p_target bigint, p_amount bigint, p_strategy text,
    p_epoch bigint, p_owner text, p_lease interval
) returns void language plpgsql as $$
begin
    insert into shardbank.leg (transfer_id, kind, account_id, amount, outcome,
                               counter_account_id, requested_amount, strategy)
    values (p_transfer, 'debit', p_source, -p_amount, 'applied', p_target, p_amount, p_strategy);
    update shardbank.account set balance = balance - p_amount
     where id = p_source and not closed and balance - held >= p_amount;
    if not found then
        perform shardbank.refuse(p_source, -p_amount);
    end if;
    insert into shardbank.saga (transfer_id, source, target, amount, epoch, owner, lease_until)
    values (p_transfer, p_source, p_target, p_amount, p_epoch, p_owner,
            clock_timestamp() + p_lease);
end $$;

-- The retriable step.
create function shardbank.credit_step(
    p_transfer uuid, p_account bigint, p_counter bigint, p_amount bigint, p_strategy text
) returns void language plpgsql as $$
begin
    insert into shardbank.leg (transfer_id, kind, account_id, amount, outcome,
                               counter_account_id, requested_amount, strategy)
    values (p_transfer, 'credit', p_account, p_amount, 'applied', p_counter, p_amount, p_strategy);
    update shardbank.account set balance = balance + p_amount
     where id = p_account and not closed and balance <= 9223372036854775807 - p_amount;
    if not found then
        perform shardbank.refuse(p_account, p_amount);
    end if;
end $$;

-- The compensation: once, also of an account that was closed meanwhile. Only where the credit's leg
-- is there and not applied.
create function shardbank.refund_debit(
    p_transfer uuid, p_account bigint, p_counter bigint, p_amount bigint, p_strategy text
) returns void language plpgsql as $$
begin
    insert into shardbank.leg (transfer_id, kind, account_id, amount, outcome, counter_account_id,
                               requested_amount, strategy)
    values (p_transfer, 'refund', p_account, p_amount, 'applied', p_counter, p_amount, p_strategy);
    update shardbank.account set balance = balance + p_amount where id = p_account;
    if not found then
        perform shardbank.refuse(p_account, p_amount);
    end if;
    update shardbank.saga set state = 'refunded', owner = null
     where transfer_id = p_transfer and state in ('debited', 'compensating', 'dead');
end $$;
