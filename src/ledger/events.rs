//! Effects that events announce, or ask for: `sql/ledger/events.sql`.

use tokio_postgres::types::ToSql;

use crate::coordination::outbox;
use crate::outcome::{Attempt, Refusal};
use crate::shards::failure::attempt_of;
use crate::shards::session::Session;
use crate::transfer::{Branch, Epoch, ShardIndex};
use crate::verbs::events::{Event, Handled, Happened};

const DEBIT: &str = "select shardbank.debit_with_event($1, $2, $3, $4, $5, $6, $7)";
const HANDLE: &str = "select * from shardbank.handle_events($1, $2, $3, $4, $5, $6, $7, $8, $9)";

type Parameter<'a> = &'a (dyn ToSql + Sync);

/// Who writes an event, and whether it wakes other processes.
#[derive(Debug, Clone, Copy)]
pub struct Writer {
    /// The coordinator.
    pub epoch: Epoch,
    /// By `NOTIFY`.
    pub wakes: bool,
}

/// Debits the source and writes the event.
pub async fn debit(session: &Session, debit: &Branch, strategy: &str, by: Writer) -> Attempt {
    let (account, counter) = (debit.account().get(), debit.counter_account().get());
    let amount = debit.transfer.amount.get();
    let parameters: [Parameter<'_>; 7] =
        [&debit.transfer.id.0, &account, &counter, &amount, &strategy, &by.epoch.0, &by.wakes];
    let run = async {
        let statement = session.prepare_cached(DEBIT).await?;
        session.execute(&statement, &parameters).await
    };
    run.await.map_or_else(|error| attempt_of(debit.shard, &error), |_| Attempt::Done)
}

/// Handles events, all or none, and says what each came to, in their order.
///
/// # Errors
/// None was handled, unless nobody knows.
pub async fn handle(
    session: &Session,
    shard: ShardIndex,
    events: &[Event],
    strategy: &str,
    by: Writer,
) -> Result<Vec<Handled>, Attempt> {
    let column = |of: fn(&Event) -> i64| events.iter().map(of).collect::<Vec<i64>>();
    let types: Vec<&str> = events.iter().map(|event| event.kind().name()).collect();
    let transfers: Vec<uuid::Uuid> = events.iter().map(|event| event.transfer.id.0).collect();
    let sources = column(|event| event.transfer.source.get());
    let targets = column(|event| event.transfer.target.get());
    let amounts = column(|event| event.transfer.amount.get());
    let reasons: Vec<Option<&str>> = events
        .iter()
        .map(|event| match event.what {
            Happened::CreditRejected(refusal) => Some(refusal.name()),
            Happened::DebitCompleted | Happened::CreditCompleted => None,
        })
        .collect();
    let parameters: [Parameter<'_>; 9] = [
        &types,
        &transfers,
        &sources,
        &targets,
        &amounts,
        &reasons,
        &strategy,
        &by.epoch.0,
        &by.wakes,
    ];
    let run = async {
        let statement = session.prepare_cached(HANDLE).await?;
        session.query(&statement, &parameters).await
    };
    let mut rows = run.await.map_err(|error| attempt_of(shard, &error))?;
    rows.sort_by_key(|row| row.get::<_, i64>(0));
    Ok(events.iter().zip(&rows).map(|(event, row)| came_to(event, row)).collect())
}

fn came_to(event: &Event, row: &tokio_postgres::Row) -> Handled {
    let (answer, reason): (Option<&str>, Option<&str>) = (row.get(1), row.get(2));
    if event.what != Happened::DebitCompleted {
        return Handled::Settled(outbox::settled(answer, reason));
    }
    let what = match reason {
        None => Happened::CreditCompleted,
        Some(reason) => Happened::CreditRejected(Refusal::from_name(reason)),
    };
    Handled::Answered(Event { what, ..*event })
}
