//! The `intent` table: transfers under locks whose debit is made and whose credit is owed.
//!
//! A row is written in the debit's own transaction (`sql/ledger/fenced.sql`), so that whoever
//! comes next can carry on where its writer died.

use std::time::Duration;

use tokio_postgres::Error;
use tokio_postgres::types::ToSql;

use crate::shards::session::Session;
use crate::transfer::{AccountId, Amount, Epoch, IdOrigin, Transfer, TransferId};
use crate::verbs::locking::{Concerning, Intent};

const OPEN: &str = "select transfer_id, source, target, amount, epoch, \
    (extract(epoch from clock_timestamp() - recorded_at) * 1000)::float8 as age_ms \
    from shardbank.intent \
    where state = 'open' and ($1::bigint is null or source = $1) \
    and ($2::bigint is null or target = $2) order by recorded_at";
/// In one statement, which its own setting makes one that nobody waits for.
const CLOSE: &str = "with lazily as materialized \
    (select set_config('synchronous_commit', 'off', true)) \
    update shardbank.intent set state = 'done' \
    where transfer_id = $1 and state = 'open' and exists (select from lazily)";

/// The open intents of this shard, oldest first.
///
/// # Errors
/// The statement failed.
pub async fn open(session: &Session, concerning: Concerning) -> Result<Vec<Intent>, Error> {
    let (source, target) = match concerning {
        Concerning::Anybody => (None, None),
        Concerning::Source(account) => (Some(account.get()), None),
        Concerning::Target(account) => (None, Some(account.get())),
    };
    let select = session.prepare_cached(OPEN).await?;
    let parameters: [&(dyn ToSql + Sync); 2] = [&source, &target];
    let rows = session.query(&select, &parameters).await?;
    let account = |id| AccountId::new(id).expect("accounts are numbered from 1");
    Ok(rows
        .iter()
        .map(|row| Intent {
            transfer: Transfer {
                id: TransferId(row.get(0)),
                source: account(row.get(1)),
                target: account(row.get(2)),
                amount: Amount::new(row.get(3)).expect("amounts are positive"),
                origin: IdOrigin::MayBeRepeated,
            },
            epoch: Epoch(row.get(4)),
            age: Duration::from_secs_f64(row.get::<_, f64>(5).max(0.0) / 1000.0),
        })
        .collect())
}

/// Notes that the credit is there, without waiting until that is durable.
///
/// # Errors
/// The statement failed.
pub async fn close(session: &Session, transfer: TransferId) -> Result<(), Error> {
    let update = session.prepare_cached(CLOSE).await?;
    session.execute(&update, &[&transfer.0 as &(dyn ToSql + Sync)]).await?;
    Ok(())
}
