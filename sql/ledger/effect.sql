-- An effect with its leg, and with its decision where it needs one, in one statement each.
-- Every function raises a code of its own where it changes nothing, because an UPDATE that finds
-- no row is no error in Postgres and would be prepared, or committed, all the same.
--
--   23505 a leg of this transfer stands already     SB101 unknown account
--   SB002 a decision on it stands already           SB102 closed account
--   SB003 not inside a branch                       SB103 insufficient funds
--   SB100 the row changed while it was looked at    SB104 the balance would overflow
--
-- A leg that stands is met by its primary key, which costs nothing where none does.
--
-- debit() and credit() must be followed, in the same transaction, by a decision or a PREPARE
-- TRANSACTION. Sent in one message with it they are, for a message stops at its first error; they
-- are procedures, because a message's text is analysed anew each time, and a CALL has nothing to
-- be planned. Told who claims the decision, they lay that claim in the decision table as well.
-- Sent behind a pipelined BEGIN they might not be followed: were that BEGIN cancelled by somebody,
-- the effect would commit by itself. There, debit_in_branch() and credit_in_branch() want to be
-- told, with "set local shardbank.branch = on" in the BEGIN's own message.

create function shardbank.refuse(p_account bigint, p_change bigint) returns void
language plpgsql as $$
declare
    found_account record;
begin
    select balance, held, closed into found_account
      from shardbank.account where id = p_account;
    if not found then
        raise exception 'unknown account' using errcode = 'SB101';
    elsif found_account.closed then
        raise exception 'closed account' using errcode = 'SB102';
    elsif p_change < 0 and found_account.balance - found_account.held < -p_change then
        raise exception 'insufficient funds' using errcode = 'SB103';
    elsif p_change > 0 and found_account.balance > 9223372036854775807 - p_change then
        raise exception 'the balance would overflow' using errcode = 'SB104';
    end if;
    raise exception 'the account changed while it was looked at' using errcode = 'SB100';
end $$;

create function shardbank.change_balance(p_account bigint, p_change bigint) returns void
language plpgsql as $$
begin
    if p_change < 0 then
        update shardbank.account set balance = balance + p_change
         where id = p_account and not closed and balance - held >= -p_change;
    else
        update shardbank.account set balance = balance + p_change
         where id = p_account and not closed and balance <= 9223372036854775807 - p_change;
    end if;
    if not found then
        perform shardbank.refuse(p_account, p_change);
    end if;
end $$;

create procedure shardbank.debit(
    p_transfer uuid, p_account bigint, p_counter bigint, p_amount bigint, p_strategy text,
    p_claimed_by text, p_participants integer[]
) language plpgsql as $$
begin
    insert into shardbank.leg (transfer_id, kind, account_id, amount, outcome,
                               counter_account_id, requested_amount, strategy)
    values (p_transfer, 'debit', p_account, -p_amount, 'applied', p_counter, p_amount, p_strategy);
    update shardbank.account set balance = balance - p_amount
     where id = p_account and not closed and balance - held >= p_amount;
    if not found then
        perform shardbank.refuse(p_account, -p_amount);
    end if;
    if p_claimed_by is not null then
        perform shardbank.claim_decision(p_transfer, p_participants, p_claimed_by);
    end if;
end $$;

create function shardbank.debit_in_branch(
    p_transfer uuid, p_account bigint, p_counter bigint, p_amount bigint, p_strategy text
) returns void language plpgsql as $$
begin
    if current_setting('shardbank.branch', true) is distinct from 'on' then
        raise exception 'not inside a branch' using errcode = 'SB003';
    end if;
    insert into shardbank.leg (transfer_id, kind, account_id, amount, outcome,
                               counter_account_id, requested_amount, strategy)
    values (p_transfer, 'debit', p_account, -p_amount, 'applied', p_counter, p_amount, p_strategy);
    update shardbank.account set balance = balance - p_amount
     where id = p_account and not closed and balance - held >= p_amount;
    if not found then
        perform shardbank.refuse(p_account, -p_amount);
    end if;
end $$;

create procedure shardbank.credit(
    p_transfer uuid, p_account bigint, p_counter bigint, p_amount bigint, p_strategy text,
    p_claimed_by text, p_participants integer[]
) language plpgsql as $$
begin
    insert into shardbank.leg (transfer_id, kind, account_id, amount, outcome,
                               counter_account_id, requested_amount, strategy)
    values (p_transfer, 'credit', p_account, p_amount, 'applied', p_counter, p_amount, p_strategy);
    update shardbank.account set balance = balance + p_amount
     where id = p_account and not closed and balance <= 9223372036854775807 - p_amount;
    if not found then
        perform shardbank.refuse(p_account, p_amount);
    end if;
    if p_claimed_by is not null then
        perform shardbank.claim_decision(p_transfer, p_participants, p_claimed_by);
    end if;
end $$;

create function shardbank.credit_in_branch(
    p_transfer uuid, p_account bigint, p_counter bigint, p_amount bigint, p_strategy text
) returns void language plpgsql as $$
begin
    if current_setting('shardbank.branch', true) is distinct from 'on' then
        raise exception 'not inside a branch' using errcode = 'SB003';
    end if;
    insert into shardbank.leg (transfer_id, kind, account_id, amount, outcome,
                               counter_account_id, requested_amount, strategy)
    values (p_transfer, 'credit', p_account, p_amount, 'applied', p_counter, p_amount, p_strategy);
    update shardbank.account set balance = balance + p_amount
     where id = p_account and not closed and balance <= 9223372036854775807 - p_amount;
    if not found then
        perform shardbank.refuse(p_account, p_amount);
    end if;
end $$;

create function shardbank.claim_decision(p_transfer uuid, p_participants integer[], p_by text)
returns void language plpgsql as $$
begin
    insert into shardbank.decision (transfer_id, verdict, participants, decided_by)
    values (p_transfer, 'commit', p_participants, p_by)
    on conflict do nothing;
    if not found then
        raise exception 'a decision on this transfer stands already' using errcode = 'SB002';
    end if;
end $$;

-- Both legs on one shard, accounts in id order. Written out, because it is the baseline that
-- every other strategy is compared with: a call of change_balance() costs more than the UPDATE.
create function shardbank.transfer_locally(
    p_transfer uuid, p_source bigint, p_target bigint, p_amount bigint, p_strategy text
) returns void language plpgsql as $$
begin
    insert into shardbank.leg (transfer_id, kind, account_id, amount, outcome,
                               counter_account_id, requested_amount, strategy)
    values (p_transfer, 'debit', p_source, -p_amount, 'applied', p_target, p_amount, p_strategy),
           (p_transfer, 'credit', p_target, p_amount, 'applied', p_source, p_amount, p_strategy);
    if p_source > p_target then
        update shardbank.account set balance = balance + p_amount
         where id = p_target and not closed and balance <= 9223372036854775807 - p_amount;
        if not found then
            perform shardbank.refuse(p_target, p_amount);
        end if;
    end if;
    update shardbank.account set balance = balance - p_amount
     where id = p_source and not closed and balance - held >= p_amount;
    if not found then
        perform shardbank.refuse(p_source, -p_amount);
    end if;
    if p_source < p_target then
        update shardbank.account set balance = balance + p_amount
         where id = p_target and not closed and balance <= 9223372036854775807 - p_amount;
        if not found then
            perform shardbank.refuse(p_target, p_amount);
        end if;
    end if;
end $$;

-- The same for an id that may have been tried before: honours a standing decision.
create function shardbank.transfer_locally_once(
    p_transfer uuid, p_source bigint, p_target bigint, p_amount bigint, p_strategy text,
    p_participants integer[], p_by text
) returns void language plpgsql as $$
begin
    perform shardbank.transfer_locally(p_transfer, p_source, p_target, p_amount, p_strategy);
    perform shardbank.claim_decision(p_transfer, p_participants, p_by);
end $$;

-- The last agent's half: its effect and the decision of the whole transfer, each in one body for
-- the same reason as the baseline.
create function shardbank.debit_and_decide(
    p_transfer uuid, p_account bigint, p_counter bigint, p_amount bigint, p_strategy text,
    p_participants integer[], p_by text
) returns void language plpgsql as $$
begin
    insert into shardbank.leg (transfer_id, kind, account_id, amount, outcome,
                               counter_account_id, requested_amount, strategy)
    values (p_transfer, 'debit', p_account, -p_amount, 'applied', p_counter, p_amount, p_strategy);
    update shardbank.account set balance = balance - p_amount
     where id = p_account and not closed and balance - held >= p_amount;
    if not found then
        perform shardbank.refuse(p_account, -p_amount);
    end if;
    insert into shardbank.decision (transfer_id, verdict, participants, decided_by)
    values (p_transfer, 'commit', p_participants, p_by)
    on conflict do nothing;
    if not found then
        raise exception 'a decision on this transfer stands already' using errcode = 'SB002';
    end if;
end $$;

create function shardbank.credit_and_decide(
    p_transfer uuid, p_account bigint, p_counter bigint, p_amount bigint, p_strategy text,
    p_participants integer[], p_by text
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
    insert into shardbank.decision (transfer_id, verdict, participants, decided_by)
    values (p_transfer, 'commit', p_participants, p_by)
    on conflict do nothing;
    if not found then
        raise exception 'a decision on this transfer stands already' using errcode = 'SB002';
    end if;
end $$;
