-- Effects that events ask for, and the events that they write. A debit writes its event; whoever
-- handles an event first makes sure by a leg that it takes effect once, and writes the answer in the
-- same transaction. Handled again it takes no effect and is answered again. Refusals of the business
-- are answers. Whatever else goes wrong fails the whole call, and nothing of it has happened.

-- The one id that an event of this type can have, so that it is written once.
create function shardbank.event_id(p_transfer uuid, p_type text) returns uuid
language sql immutable as $$
    select encode(substring(sha256(convert_to(p_transfer::text || ' ' || p_type, 'UTF8'))
                            from 1 for 16), 'hex')::uuid
$$;

-- Debits the source and writes the event that says so. `p_wakes` tells whoever listens.
create function shardbank.debit_with_event(
    p_transfer uuid, p_source bigint, p_target bigint, p_amount bigint, p_strategy text,
    p_epoch bigint, p_wakes boolean
) returns void language plpgsql as $$
begin
    insert into shardbank.leg (transfer_id, kind, account_id, amount, outcome, counter_account_id,
                               requested_amount, strategy)
    values (p_transfer, 'debit', p_source, -p_amount, 'applied', p_target, p_amount, p_strategy);
    update shardbank.account set balance = balance - p_amount
     where id = p_source and not closed and balance - held >= p_amount;
    if not found then
        perform shardbank.refuse(p_source, -p_amount);
    end if;
    -- After the account's row is locked: positions of one account are in the order of its debits.
    insert into shardbank.outbox (event_id, transfer_id, account_id, target, amount, epoch, type)
    values (shardbank.event_id(p_transfer, 'debit_completed'), p_transfer, p_source, p_target,
            p_amount, p_epoch, 'debit_completed');
    if p_wakes then
        perform pg_notify('shardbank_outbox', '');
    end if;
end $$;

-- Handles a `debit_completed`: the credit's leg, the credit, the answer. Returns why not, or null.
create function shardbank.credit_by_event(
    p_transfer uuid, p_source bigint, p_target bigint, p_amount bigint, p_strategy text,
    p_epoch bigint
) returns text language plpgsql as $$
declare
    refused_because text;
    answer_type text;
begin
    insert into shardbank.leg (transfer_id, kind, account_id, amount, outcome, counter_account_id,
                               requested_amount, strategy)
    values (p_transfer, 'credit', p_target, p_amount, 'applied', p_source, p_amount, p_strategy)
    on conflict do nothing;
    if found then
        update shardbank.account set balance = balance + p_amount
         where id = p_target and not closed and balance <= 9223372036854775807 - p_amount;
        if not found then
            begin
                perform shardbank.refuse(p_target, p_amount);
            exception
                when sqlstate 'SB101' then refused_because := 'unknown_account';
                when sqlstate 'SB102' then refused_because := 'closed_account';
                when sqlstate 'SB104' then refused_because := 'overflow';
            end;
            update shardbank.leg set outcome = 'rejected', amount = 0, reason = refused_because
             where transfer_id = p_transfer and kind = 'credit';
        end if;
    else
        -- A leg for other accounts or another amount is another order's under the same id: this
        -- one never will run.
        -- One that a reservation with the same id holds is not final: its end is waited for.
        if exists (select from shardbank.leg
                    where transfer_id = p_transfer and kind = 'credit' and outcome = 'held') then
            raise exception 'a reservation holds the leg' using errcode = 'SB100';
        end if;
        select case when account_id is null
                      or (account_id, counter_account_id, requested_amount)
                         <> (p_target, p_source, p_amount) then 'superseded'
                    when outcome = 'applied' then null
                    else coalesce(reason, 'superseded') end
          into refused_because
          from shardbank.leg where transfer_id = p_transfer and kind = 'credit';
        if not found then
            raise exception 'the leg vanished while it was looked at' using errcode = 'SB100';
        end if;
    end if;
    answer_type := case when refused_because is null then 'credit_completed'
                        else 'credit_rejected' end;
    insert into shardbank.outbox (event_id, transfer_id, account_id, target, amount, epoch, type,
                                  reason)
    values (shardbank.event_id(p_transfer, answer_type), p_transfer, p_source, p_target, p_amount,
            p_epoch, answer_type, refused_because)
    on conflict (event_id) do update
       set sent_at = null, settled_at = null, held_until = null, epoch = excluded.epoch
     where outbox.settled_at is not null;
    return refused_because;
end $$;

-- Handles the answer to a `debit_completed`, once: writes the transfer's end into its row, and where
-- the credit was rejected refunds the debit. The row is looked at first: where it is settled, or
-- pruned, there is nothing to do.
create function shardbank.settle_by_event(
    p_transfer uuid, p_source bigint, p_target bigint, p_amount bigint, p_reason text,
    p_strategy text
) returns void language plpgsql as $$
begin
    update shardbank.outbox
       set answer = case when p_reason is null then 'transfer_completed'
                         else 'transfer_refunded' end,
           reason = p_reason, settled_at = clock_timestamp(), held_until = null, is_parked = false,
           sent_at = coalesce(sent_at, clock_timestamp())
     where event_id = shardbank.event_id(p_transfer, 'debit_completed') and settled_at is null;
    if not found or p_reason is null then
        return;
    end if;
    insert into shardbank.leg (transfer_id, kind, account_id, amount, outcome, counter_account_id,
                               requested_amount, strategy)
    values (p_transfer, 'refund', p_source, p_amount, 'applied', p_target, p_amount, p_strategy)
    on conflict do nothing;
    if found then
        update shardbank.account set balance = balance + p_amount where id = p_source;
        if not found then
            perform shardbank.refuse(p_source, p_amount);
        end if;
    end if;
end $$;

-- Handles events, all or none, in the order of the accounts that they change, so that two batches
-- never wait for each other in a circle. Answers by their places: how a `debit_completed` was
-- answered, or how the transfer of an answer has ended (null where nobody asks any more). Where
-- nothing but ends are written the commit is not waited for: an end that is lost is written again.
create function shardbank.handle_events(
    p_types text[], p_transfers uuid[], p_sources bigint[], p_targets bigint[], p_amounts bigint[],
    p_reasons text[], p_strategy text, p_epoch bigint, p_wakes boolean
) returns table (place bigint, answer text, reason text) language plpgsql as $$
declare
    event record;
begin
    if 'debit_completed' <> all (p_types) and 'credit_rejected' <> all (p_types) then
        perform set_config('synchronous_commit', 'off', true);
    end if;
    for event in
        select * from unnest(p_types, p_transfers, p_sources, p_targets, p_amounts, p_reasons)
            with ordinality as e (type, transfer, source, target, amount, why, at)
         order by case when e.type = 'debit_completed' then e.target else e.source end, e.at
    loop
        place := event.at;
        if event.type = 'debit_completed' then
            reason := shardbank.credit_by_event(event.transfer, event.source, event.target,
                                                event.amount, p_strategy, p_epoch);
            answer := case when reason is null then 'credit_completed' else 'credit_rejected' end;
        else
            perform shardbank.settle_by_event(event.transfer, event.source, event.target,
                                              event.amount, event.why, p_strategy);
            answer := null;
            reason := null;
            select o.answer, o.reason into answer, reason from shardbank.outbox o
             where o.event_id = shardbank.event_id(event.transfer, 'debit_completed');
        end if;
        return next;
    end loop;
    if p_wakes and 'debit_completed' = any (p_types) then
        perform pg_notify('shardbank_outbox', '');
    end if;
end $$;

-- Takes up to `p_limit` events that are to be sent, for `p_held` seconds, and returns them in their
-- order. An event is taken only with, or after, every earlier one of its account that is not sent.
-- One that was sent and has had no answer for `p_patience` seconds is taken again. The commit is not
-- waited for: an event that is taken twice is handled once.
create function shardbank.take_events(
    p_limit integer, p_held double precision, p_patience double precision
) returns table (type text, transfer_id uuid, source bigint, target bigint, amount bigint, reason text)
language plpgsql set enable_seqscan = off set enable_bitmapscan = off as $$
declare
    taken uuid[];
begin
    perform set_config('synchronous_commit', 'off', true);
    select array_agg(free.event_id) into taken from (
        select o.event_id from shardbank.outbox o
         where o.settled_at is null and not o.is_parked
           and (o.sent_at is null or o.sent_at < clock_timestamp() - make_interval(secs => p_patience))
           and (o.held_until is null or o.held_until < clock_timestamp())
           and not exists (select from shardbank.outbox earlier
                            where earlier.account_id = o.account_id
                              and earlier.position < o.position and earlier.settled_at is null
                              and earlier.sent_at is null
                              and (earlier.is_parked or earlier.held_until >= clock_timestamp()))
         order by o.position limit p_limit for update skip locked
    ) free;
    if taken is null then
        return;
    end if;
    -- What another relay was taking at the same instant was passed over above: behind it nothing of
    -- its account is taken here either.
    return query
    with mine as (
        update shardbank.outbox o set held_until = clock_timestamp() + make_interval(secs => p_held)
         where o.event_id = any (taken)
           and not exists (select from shardbank.outbox earlier
                            where earlier.account_id = o.account_id
                              and earlier.position < o.position and earlier.settled_at is null
                              and earlier.sent_at is null and earlier.event_id <> all (taken))
        returning o.position, o.type, o.transfer_id, o.account_id, o.target, o.amount, o.reason
    )
    select mine.type, mine.transfer_id, mine.account_id, mine.target, mine.amount, mine.reason
      from mine order by mine.position;
end $$;

-- Notes that events were handled by their addressees. Not waited for, for the same reason. A row that
-- is locked is passed over: whoever settles it at this instant notes that it was sent.
create function shardbank.mark_sent(p_transfers uuid[], p_types text[]) returns void
language plpgsql as $$
begin
    perform set_config('synchronous_commit', 'off', true);
    with sent as materialized (
        select o.event_id from shardbank.outbox o
         where o.event_id = any (array(select shardbank.event_id(s.transfer, s.type)
                                         from unnest(p_transfers, p_types) as s (transfer, type)))
           and o.settled_at is null
           for update skip locked
    )
    update shardbank.outbox o
       set sent_at = clock_timestamp(), held_until = null, is_parked = false, last_error = null,
           settled_at = case when o.type = 'debit_completed' then null else clock_timestamp() end
      from sent where o.event_id = sent.event_id;
end $$;

-- Lets events rest that could not be handled: longer each time that it counts, and parked once it has
-- counted `p_tries` times.
create function shardbank.put_back_events(
    p_transfers uuid[], p_types text[], p_error text, p_counts boolean, p_tries integer
) returns void language plpgsql as $$
begin
    perform set_config('synchronous_commit', 'off', true);
    update shardbank.outbox o
       set attempts = o.attempts + p_counts::integer, last_error = p_error,
           is_parked = p_counts and o.attempts + 1 >= p_tries,
           held_until = clock_timestamp()
                        + least(make_interval(secs => 0.05 * power(2, least(o.attempts, 10))),
                                make_interval(secs => 5))
     where o.event_id = any (array(select shardbank.event_id(back.transfer, back.type)
                                     from unnest(p_transfers, p_types) as back (transfer, type)))
       and o.settled_at is null;
end $$;
