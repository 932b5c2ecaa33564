//! The `outbox` table: events, from the transaction that writes them until nobody need do anything
//! about them.
//!
//! An event is written, and handled, together with effects: `sql/ledger/events.sql`. Here is what
//! is done with the rows alone.

use std::time::Duration;

use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Row};

use crate::outcome::Refusal;
use crate::shards::session::Session;
use crate::transfer::{AccountId, Amount, Epoch, IdOrigin, Transfer, TransferId};
use crate::verbs::events::{Event, EventType, Happened, OpenEvent, PutBack, Settled, Standing};

const TAKE: &str = "select * from shardbank.take_events($1, $2, $3)";
const MARK_SENT: &str = "select shardbank.mark_sent($1, $2)";
const PUT_BACK: &str = "select shardbank.put_back_events($1, $2, $3, $4, $5)";
const OPEN: &str = "select type, transfer_id, account_id, target, amount, reason, epoch, \
    (extract(epoch from clock_timestamp() - recorded_at) * 1000)::float8 as age_ms \
    from shardbank.outbox where settled_at is null order by position";
const READ: &str = "select answer, reason from shardbank.outbox \
    where event_id = shardbank.event_id($1, 'debit_completed')";

/// An event that is in somebody's way is parked after so many tries.
const TRIES: i32 = 20;

type Parameter<'a> = &'a (dyn ToSql + Sync);

/// Takes up to `limit` events for as long as `held`. What was sent `patience` ago and has had no
/// answer is taken again.
///
/// # Errors
/// The statement failed; some may be taken.
pub async fn take(
    session: &Session,
    limit: u32,
    held: Duration,
    patience: Duration,
) -> Result<Vec<Event>, Error> {
    let limit = i32::try_from(limit).unwrap_or(i32::MAX);
    let (held, patience) = (held.as_secs_f64(), patience.as_secs_f64());
    let select = session.prepare_cached(TAKE).await?;
    let parameters: [Parameter<'_>; 3] = [&limit, &held, &patience];
    Ok(session.query(&select, &parameters).await?.iter().map(event).collect())
}

/// Notes that events were handled by their addressees.
///
/// # Errors
/// The statement failed.
pub async fn mark_sent(session: &Session, events: &[Event]) -> Result<(), Error> {
    let (transfers, types) = names(events);
    let mark = session.prepare_cached(MARK_SENT).await?;
    let parameters: [Parameter<'_>; 2] = [&transfers, &types];
    session.execute(&mark, &parameters).await.map(drop)
}

/// Lets events rest, or parks them.
///
/// # Errors
/// The statement failed.
pub async fn put_back(session: &Session, events: &[Event], why: &PutBack) -> Result<(), Error> {
    let (transfers, types) = names(events);
    let (error, counts, tries) = match why {
        PutBack::Unreachable(error) => (error.to_string(), false, TRIES),
        PutBack::InTheWay(error) => (error.clone(), true, TRIES),
        PutBack::Poison(error) => (error.to_string(), true, 0),
    };
    let statement = session.prepare_cached(PUT_BACK).await?;
    let parameters: [Parameter<'_>; 5] = [&transfers, &types, &error, &counts, &tries];
    session.execute(&statement, &parameters).await.map(drop)
}

/// The events that are not settled, in their order.
///
/// # Errors
/// The statement failed.
pub async fn open(session: &Session) -> Result<Vec<OpenEvent>, Error> {
    let select = session.prepare_cached(OPEN).await?;
    let none: [Parameter<'_>; 0] = [];
    let rows = session.query(&select, &none).await?;
    let open = rows.iter().map(|row| OpenEvent {
        event: event(row),
        epoch: Epoch(row.get("epoch")),
        age: Duration::from_secs_f64(row.get::<_, f64>("age_ms").max(0.0) / 1000.0),
    });
    Ok(open.collect())
}

/// How far the transfer of a completed debit is; nothing where there is no event of it.
///
/// # Errors
/// The statement failed.
pub async fn read(session: &Session, transfer: TransferId) -> Result<Option<Standing>, Error> {
    let select = session.prepare_cached(READ).await?;
    let parameters: [Parameter<'_>; 1] = [&transfer.0];
    let row = session.query_opt(&select, &parameters).await?;
    Ok(row.map(|row| match settled(row.get(0), row.get(1)) {
        Some(settled) => Standing::Settled(settled),
        None => Standing::Open,
    }))
}

/// The end that `answer` and `reason` spell, if there is one.
#[must_use]
pub fn settled(answer: Option<&str>, reason: Option<&str>) -> Option<Settled> {
    answer.map(|answer| match answer {
        "transfer_completed" => Settled::Completed,
        _ => Settled::Refunded(Refusal::from_name(reason.unwrap_or_default())),
    })
}

fn names(events: &[Event]) -> (Vec<uuid::Uuid>, Vec<&'static str>) {
    events.iter().map(|event| (event.transfer.id.0, event.kind().name())).unzip()
}

/// By place: the two functions that list events call their columns differently.
fn event(row: &Row) -> Event {
    let account = |at| AccountId::new(row.get(at)).expect("accounts are numbered from 1");
    let reason: Option<&str> = row.get(5);
    let what = match row.get::<_, &str>(0) {
        debit if debit == EventType::DebitCompleted.name() => Happened::DebitCompleted,
        credit if credit == EventType::CreditCompleted.name() => Happened::CreditCompleted,
        _ => Happened::CreditRejected(Refusal::from_name(reason.unwrap_or_default())),
    };
    Event {
        transfer: Transfer {
            id: TransferId(row.get(1)),
            source: account(2),
            target: account(3),
            amount: Amount::new(row.get(4)).expect("amounts are positive"),
            origin: IdOrigin::MayBeRepeated,
        },
        what,
    }
}
