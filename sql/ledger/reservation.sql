-- Reserve, confirm, cancel. Each locks the effect's leg first: while it is `held` no other call can
-- run that effect or rule it out. Whether a hold is confirmed or cancelled is decided elsewhere.
--
--   SB005 the hold is cancelled     SB007 there is no hold     SB008 the account has promised
--
-- What was promised happens: a confirm looks neither at `closed` nor at the balance. A source's hold
-- is covered by the constraint on `held`; a target cannot be closed while it has promised to take
-- money (refuse_closing), and cannot overflow, because init refuses more money than a balance can
-- hold and none is made.

create function shardbank.reserve(
    p_transfer uuid, p_account bigint, p_counter bigint, p_amount bigint, p_strategy text,
    p_kind text, p_home integer, p_epoch bigint, p_time interval
) returns void language plpgsql as $$
declare
    found_account record;
    promised numeric;
begin
    insert into shardbank.leg (transfer_id, kind, account_id, amount, outcome,
                               counter_account_id, requested_amount, strategy)
    values (p_transfer, p_kind, p_account, 0, 'held', p_counter, p_amount, p_strategy);
    if p_kind = 'debit' then
        update shardbank.account set held = held + p_amount
         where id = p_account and not closed and balance - held >= p_amount;
        if not found then
            perform shardbank.refuse(p_account, -p_amount);
        end if;
    else
        -- Against whoever closes it, or promises more in its name, at this moment.
        select balance, closed into found_account
          from shardbank.account where id = p_account for no key update;
        if not found or found_account.closed then
            perform shardbank.refuse(p_account, p_amount);
        end if;
        select coalesce(sum(amount), 0) into promised
          from shardbank.hold where account_id = p_account and state = 'held' and kind = 'credit';
        if found_account.balance + promised + p_amount > 9223372036854775807 then
            raise exception 'the balance would overflow' using errcode = 'SB104';
        end if;
    end if;
    insert into shardbank.hold (transfer_id, account_id, counter_account_id, amount, epoch,
                                expires_at, home_shard, kind)
    values (p_transfer, p_account, p_counter, p_amount, p_epoch, clock_timestamp() + p_time,
            p_home, p_kind);
end $$;

-- What was held is what the hold says, whatever the caller believes.
create function shardbank.confirm(p_transfer uuid, p_kind text) returns void
language plpgsql as $$
declare
    standing text;
    promise record;
    change bigint;
begin
    select outcome into standing from shardbank.leg
     where transfer_id = p_transfer and kind = p_kind for no key update;
    if not found then
        raise exception 'there is no hold' using errcode = 'SB007';
    elsif standing = 'applied' then
        return;
    elsif standing <> 'held' then
        raise exception 'the hold is cancelled' using errcode = 'SB005';
    end if;
    update shardbank.hold set state = 'confirmed'
     where transfer_id = p_transfer and kind = p_kind and state = 'held'
    returning account_id, amount into strict promise;
    if p_kind = 'debit' then
        change := -promise.amount;
        update shardbank.account
           set balance = balance - promise.amount, held = held - promise.amount
         where id = promise.account_id;
    else
        change := promise.amount;
        update shardbank.account set balance = balance + promise.amount
         where id = promise.account_id;
    end if;
    update shardbank.leg set outcome = 'applied', amount = change
     where transfer_id = p_transfer and kind = p_kind;
end $$;

-- False where the effect's leg is final already, or another order's under the same id: it is to be
-- read.
create function shardbank.cancel(
    p_transfer uuid, p_account bigint, p_counter bigint, p_amount bigint, p_strategy text,
    p_kind text, p_reason text
) returns boolean language plpgsql as $$
declare
    promise record;
begin
    insert into shardbank.leg (transfer_id, kind, account_id, amount, outcome,
                               counter_account_id, requested_amount, strategy, reason)
    values (p_transfer, p_kind, p_account, 0, 'rejected', p_counter, p_amount, p_strategy, p_reason)
    on conflict do nothing;
    if found then
        -- It came first: a late reserve finds the leg.
        return true;
    end if;
    update shardbank.leg set outcome = 'rejected', reason = p_reason
     where transfer_id = p_transfer and kind = p_kind and outcome = 'held'
       and (account_id, counter_account_id, requested_amount) = (p_account, p_counter, p_amount);
    if not found then
        return false;
    end if;
    update shardbank.hold set state = 'cancelled'
     where transfer_id = p_transfer and kind = p_kind and state = 'held'
    returning account_id, amount into strict promise;
    if p_kind = 'debit' then
        update shardbank.account set held = held - promise.amount where id = promise.account_id;
    end if;
    return true;
end $$;

create function shardbank.refuse_closing() returns trigger language plpgsql as $$
begin
    if exists (select from shardbank.hold
                where account_id = new.id and state = 'held' and kind = 'credit') then
        raise exception 'account % has promised to take money; wait until its holds have ended',
            new.id using errcode = 'SB008';
    end if;
    return null;
end $$;

create trigger no_closing_of_a_promise after update of closed on shardbank.account
    for each row when (new.closed and not old.closed)
    execute function shardbank.refuse_closing();
