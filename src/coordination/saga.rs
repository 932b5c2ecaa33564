//! The `saga` table: the log of sagas whose debit is made.
//!
//! A row is written in the debit's own transaction (`sql/ledger/saga_steps.sql`). Claims go by
//! `FOR UPDATE SKIP LOCKED` and a lease, so that any number of orchestrators share the work; every
//! transition is conditional on the old state, and where it is an owner's, on the owner.

use std::time::Duration;

use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error, Row};

use crate::shards::session::Session;
use crate::transfer::{AccountId, Amount, Epoch, IdOrigin, Transfer, TransferId};
use crate::verbs::saga::{ATTEMPTS_MAX, LEASE, OpenSaga, Owner, SagaEvent, SagaState, Turn};

/// How many sagas one claim takes.
const BATCH: i64 = 1000;
/// The longest wait before another attempt, in milliseconds; the first is at most 100.
const BACK_OFF_MS_MAX: f64 = 30_000.0;
const BACK_OFF_MS: f64 = 100.0;
/// An error is kept so far, in characters.
const ERROR_MAX: usize = 200;

/// The old rows are read in the same snapshot in which they are claimed, so a claimed one is told
/// by the claim.
const CLAIM: &str = "with due as materialized ( \
        select transfer_id from shardbank.saga \
         where state in ('debited', 'compensating') and next_attempt_at <= clock_timestamp() \
           and (owner is null or epoch = any($1) \
                or lease_until <= clock_timestamp() + $2::float8 * interval '1 ms') \
         order by next_attempt_at limit $3 for update skip locked \
    ), claimed as ( \
        update shardbank.saga s \
           set owner = $4, epoch = $5, attempts = attempts + 1, \
               lease_until = clock_timestamp() + $6::float8 * interval '1 ms' \
          from due where s.transfer_id = due.transfer_id returning s.transfer_id \
    ) \
    select s.transfer_id, s.source, s.target, s.amount, s.state, s.last_error, \
           s.attempts + (c.transfer_id is not null)::int, c.transfer_id is not null, \
           s.owner is not null \
      from shardbank.saga s left join claimed c on c.transfer_id = s.transfer_id \
     where s.state not in ('completed', 'refunded') \
     order by c.transfer_id is null, s.next_attempt_at limit $3";
/// In one statement, which its own setting makes one that nobody waits for.
const COMPLETE: &str = "with lazily as materialized \
    (select set_config('synchronous_commit', 'off', true)) \
    update shardbank.saga set state = $2, owner = null \
    where transfer_id = $1 and state = any($3) and exists (select from lazily)";
const POSTPONE: &str = "update shardbank.saga \
    set owner = null, lease_until = null, last_error = $3, \
        state = case when attempts >= $4 then $5 else state end, \
        next_attempt_at = clock_timestamp() + random() * interval '1 ms' \
            * least($6::float8 * power(2, attempts), $7::float8) \
    where transfer_id = $1 and owner = $2 and state in ('debited', 'compensating')";
const REVIVE: &str = "update shardbank.saga \
    set state = $1, attempts = 0, next_attempt_at = clock_timestamp(), owner = null \
    where state = 'dead' returning transfer_id";

const HASTEN: &str = "update shardbank.saga set next_attempt_at = clock_timestamp() \
    where state in ('debited', 'compensating') and owner is null \
      and next_attempt_at > clock_timestamp()";

type Parameter<'a> = &'a (dyn ToSql + Sync);

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// The states in which `event` can happen, and the one after it.
fn around(event: SagaEvent) -> (Vec<&'static str>, &'static str) {
    let able = SagaState::ALL.into_iter().filter_map(|state| Some((state, state.on(event).ok()?)));
    let (before, after): (Vec<SagaState>, Vec<SagaState>) = able.unzip();
    let after = after.first().expect("every event can happen in some state").name();
    (before.into_iter().map(SagaState::name).collect(), after)
}

/// Claims what is due; returns all that is open.
///
/// # Errors
/// The statement failed.
pub async fn claim(
    session: &Session,
    owner: Owner,
    dead: &[Epoch],
    grace: Duration,
) -> Result<Vec<OpenSaga>, Error> {
    let statement = session.prepare_cached(CLAIM).await?;
    let dead: Vec<i64> = dead.iter().map(|epoch| epoch.0).collect();
    // A lease of which not more is left than this was taken at least the grace period ago.
    let spare = milliseconds(LEASE.saturating_sub(grace));
    let name = owner.to_string();
    let lease = milliseconds(LEASE);
    let parameters: [Parameter<'_>; 6] = [&dead, &spare, &BATCH, &name, &owner.epoch.0, &lease];
    Ok(session.query(&statement, &parameters).await?.iter().map(open_saga).collect())
}

fn open_saga(row: &Row) -> OpenSaga {
    let account = |id| AccountId::new(id).expect("accounts are numbered from 1");
    let state = SagaState::from_name(row.get(4)).expect("the table holds no other states");
    let (is_claimed, is_owned): (bool, bool) = (row.get(7), row.get(8));
    OpenSaga {
        transfer: Transfer {
            id: TransferId(row.get(0)),
            source: account(row.get(1)),
            target: account(row.get(2)),
            amount: Amount::new(row.get(3)).expect("amounts are positive"),
            origin: IdOrigin::MayBeRepeated,
        },
        state,
        attempts: u32::try_from(row.get::<_, i32>(6)).unwrap_or_default(),
        turn: if is_claimed {
            Turn::Ours
        } else if is_owned {
            Turn::Anothers
        } else {
            Turn::NotYet
        },
        last_error: row.get(5),
    }
}

/// Notes that the credit is there, without waiting until that is durable.
///
/// # Errors
/// The statement failed.
pub async fn complete(session: &Session, transfer: TransferId) -> Result<(), Error> {
    let update = session.prepare_cached(COMPLETE).await?;
    let (before, after) = around(SagaEvent::Credited);
    let parameters: [Parameter<'_>; 3] = [&transfer.0, &after, &before];
    session.execute(&update, &parameters).await?;
    Ok(())
}

/// Lets go of a claimed saga, until later or, after too many attempts, for good.
///
/// # Errors
/// The statement failed.
pub async fn postpone(
    session: &Session,
    transfer: TransferId,
    owner: Owner,
    why: &str,
) -> Result<(), Error> {
    let update = session.prepare_cached(POSTPONE).await?;
    let why: String = why.chars().take(ERROR_MAX).collect();
    let attempts_max = i32::try_from(ATTEMPTS_MAX).unwrap_or(i32::MAX);
    let (_, given_up) = around(SagaEvent::GaveUp);
    let name = owner.to_string();
    let parameters: [Parameter<'_>; 7] =
        [&transfer.0, &name, &why, &attempts_max, &given_up, &BACK_OFF_MS, &BACK_OFF_MS_MAX];
    session.execute(&update, &parameters).await?;
    Ok(())
}

/// Whether an open saga is driven under `epoch`.
///
/// # Errors
/// The statement failed.
pub async fn is_driven_by(session: &Session, epoch: Epoch) -> Result<bool, Error> {
    let select = session
        .prepare_cached(
            "select exists (select from shardbank.saga \
             where state not in ('completed', 'refunded') and owner is not null and epoch = $1)",
        )
        .await?;
    let parameters: [Parameter<'_>; 1] = [&epoch.0];
    Ok(session.query_one(&select, &parameters).await?.get(0))
}

/// What an operator wants of the sagas that were given up.
///
/// # Errors
/// The statement failed.
pub async fn revive(client: &Client, event: SagaEvent) -> Result<Vec<TransferId>, Error> {
    let (_, state) = around(event);
    let rows = client.query(REVIVE, &[&state]).await?;
    Ok(rows.iter().map(|row| TransferId(row.get(0))).collect())
}

/// Makes due at once what waits to be tried again.
///
/// # Errors
/// The statement failed.
pub async fn hasten(client: &Client) -> Result<u64, Error> {
    client.execute(HASTEN, &[]).await
}

/// The transfers of which a saga is open on this shard.
///
/// # Errors
/// The statement failed.
pub async fn open(client: &Client) -> Result<Vec<TransferId>, Error> {
    let rows = client
        .query(
            "select transfer_id from shardbank.saga where state not in ('completed', 'refunded')",
            &[],
        )
        .await?;
    Ok(rows.iter().map(|row| TransferId(row.get(0))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_statement_may_change_is_what_the_transitions_allow() {
        assert_eq!(
            around(SagaEvent::Credited),
            (vec!["debited", "compensating", "dead"], "completed")
        );
        assert_eq!(around(SagaEvent::GaveUp), (vec!["debited", "compensating"], "dead"));
        assert_eq!(around(SagaEvent::Retried), (vec!["dead"], "debited"));
        assert_eq!(around(SagaEvent::CompensationOrdered), (vec!["dead"], "compensating"));
    }
}
