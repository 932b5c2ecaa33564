-- Effects under locks. A lock's holder may have been stopped for longer than its lease ran, so
-- every effect checks its fence in the statement that writes. (fence_epoch, fence) only grows; of
-- two holders with equal ones, as a split service makes them, the first is let in.
--
--   SB004 fenced out: somebody with a later grant has been here
--
-- An account's fence_holder is whoever has claimed it and not yet written. Whoever finds another
-- there knows that something may have been left half-way.

-- The account, locked, if this grant may write to it.
create function shardbank.fenced_account(
    p_account bigint, p_epoch integer, p_token bigint, p_holder uuid
) returns shardbank.account language plpgsql as $$
declare
    found_account shardbank.account;
begin
    select * into found_account from shardbank.account where id = p_account for update;
    if not found then
        raise exception 'unknown account' using errcode = 'SB101';
    elsif found_account.fence_epoch > p_epoch
       or found_account.fence_epoch = p_epoch and found_account.fence > p_token
       or found_account.fence_epoch = p_epoch and found_account.fence = p_token
          and found_account.fence_holder is distinct from p_holder then
        raise exception 'fenced out' using errcode = 'SB004';
    elsif found_account.closed then
        raise exception 'closed account' using errcode = 'SB102';
    end if;
    return found_account;
end $$;

-- Raises the fence of an account before anything is read on its strength. True where somebody
-- claimed it before and has not written.
create function shardbank.claim(
    p_account bigint, p_epoch integer, p_token bigint, p_holder uuid
) returns boolean language plpgsql as $$
declare
    before uuid;
begin
    select (shardbank.fenced_account(p_account, p_epoch, p_token, p_holder)).fence_holder
      into before;
    update shardbank.account
       set fence_epoch = p_epoch, fence = p_token, fence_holder = p_holder
     where id = p_account;
    return coalesce(before <> p_holder, false);
end $$;

-- Claims the source, and debits it with the intent in the same transaction. Where somebody left
-- something half-way it only claims: `own_shard` where an intent on this account stands open here,
-- `any_shard` where one towards it may stand open anywhere; `done` otherwise.
create function shardbank.debit_with_intent(
    p_transfer uuid, p_source bigint, p_target bigint, p_amount bigint, p_strategy text,
    p_fence_epoch integer, p_fence bigint, p_holder uuid, p_epoch bigint
) returns text language plpgsql as $$
declare
    found_account shardbank.account;
    is_left_here boolean;
begin
    found_account := shardbank.fenced_account(p_source, p_fence_epoch, p_fence, p_holder);
    is_left_here := exists (select from shardbank.intent where source = p_source
                               and state = 'open' and transfer_id <> p_transfer);
    if is_left_here or coalesce(found_account.fence_holder <> p_holder, false) then
        update shardbank.account
           set fence_epoch = p_fence_epoch, fence = p_fence, fence_holder = p_holder
         where id = p_source;
        return case when is_left_here then 'own_shard' else 'any_shard' end;
    end if;
    insert into shardbank.leg (transfer_id, kind, account_id, amount, outcome, counter_account_id,
                               requested_amount, strategy, fence_epoch, fence)
    values (p_transfer, 'debit', p_source, -p_amount, 'applied', p_target, p_amount, p_strategy,
            p_fence_epoch, p_fence);
    update shardbank.account
       set balance = balance - p_amount, fence_epoch = p_fence_epoch, fence = p_fence,
           fence_holder = null
     where id = p_source and balance - held >= p_amount;
    if not found then
        perform shardbank.refuse(p_source, -p_amount);
    end if;
    insert into shardbank.intent (transfer_id, source, target, amount, strategy, fence_epoch, fence,
                                  epoch)
    values (p_transfer, p_source, p_target, p_amount, p_strategy, p_fence_epoch, p_fence, p_epoch);
    return 'done';
end $$;

-- Credits a target that was claimed under the same fence.
create function shardbank.credit_under_fence(
    p_transfer uuid, p_account bigint, p_counter bigint, p_amount bigint, p_strategy text,
    p_fence_epoch integer, p_fence bigint, p_holder uuid
) returns void language plpgsql as $$
begin
    insert into shardbank.leg (transfer_id, kind, account_id, amount, outcome, counter_account_id,
                               requested_amount, strategy, fence_epoch, fence)
    values (p_transfer, 'credit', p_account, p_amount, 'applied', p_counter, p_amount, p_strategy,
            p_fence_epoch, p_fence);
    update shardbank.account set balance = balance + p_amount, fence_holder = null
     where id = p_account and not closed and balance <= 9223372036854775807 - p_amount
       and fence_epoch = p_fence_epoch and fence = p_fence and fence_holder = p_holder;
    if not found then
        if exists (select from shardbank.account where id = p_account
                      and (fence_epoch, fence, fence_holder)
                          is distinct from (p_fence_epoch, p_fence, p_holder)) then
            raise exception 'fenced out' using errcode = 'SB004';
        end if;
        perform shardbank.refuse(p_account, p_amount);
    end if;
end $$;

-- Credits what an intent promises, for whoever finds it open. It brings a fence of its own, one
-- above what stands, so that whoever was left behind can write nothing any more; the next grant's
-- is at least as high, and where it is equal that holder tries again.
create function shardbank.credit_intended(
    p_transfer uuid, p_account bigint, p_counter bigint, p_amount bigint, p_strategy text
) returns void language plpgsql as $$
begin
    insert into shardbank.leg (transfer_id, kind, account_id, amount, outcome, counter_account_id,
                               requested_amount, strategy)
    values (p_transfer, 'credit', p_account, p_amount, 'applied', p_counter, p_amount, p_strategy);
    update shardbank.account
       set balance = balance + p_amount, fence = fence + 1, fence_holder = null
     where id = p_account and not closed and balance <= 9223372036854775807 - p_amount;
    if not found then
        perform shardbank.refuse(p_account, p_amount);
    end if;
end $$;

-- Gives the source back what was debited, once, and closes the intent. Only where the credit's leg
-- is there and not applied.
create function shardbank.refund(
    p_transfer uuid, p_account bigint, p_counter bigint, p_amount bigint, p_strategy text
) returns void language plpgsql as $$
begin
    insert into shardbank.leg (transfer_id, kind, account_id, amount, outcome, counter_account_id,
                               requested_amount, strategy)
    values (p_transfer, 'refund', p_account, p_amount, 'applied', p_counter, p_amount, p_strategy);
    update shardbank.account
       set balance = balance + p_amount, fence = fence + 1, fence_holder = null
     where id = p_account;
    if not found then
        perform shardbank.refuse(p_account, p_amount);
    end if;
    update shardbank.intent set state = 'refunded' where transfer_id = p_transfer;
end $$;
