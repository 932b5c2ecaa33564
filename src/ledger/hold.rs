//! The `hold` table and what is done with holds: `sql/ledger/reservation.sql`.

use std::time::Duration;

use tokio_postgres::Error;
use tokio_postgres::types::ToSql;

use crate::ledger::effect;
use crate::outcome::{Attempt, Refusal};
use crate::shards::failure::attempt_of;
use crate::shards::session::Session;
use crate::transfer::{
    AccountId, Amount, Branch, Epoch, IdOrigin, LegKind, ShardIndex, Transfer, TransferId,
};
use crate::verbs::holding::OpenHold;

const RESERVE: &str = "select shardbank.reserve($1, $2, $3, $4, $5, $6, $7, $8, \
    $9::float8 * interval '1 ms')";
const CONFIRM: &str = "select shardbank.confirm($1, $2)";
const CANCEL: &str = "select shardbank.cancel($1, $2, $3, $4, $5, $6, $7)";
const OPEN: &str = "select transfer_id, account_id, counter_account_id, amount, kind, epoch, \
    expires_at <= clock_timestamp() from shardbank.hold where state = 'held' order by expires_at";

type Parameter<'a> = &'a (dyn ToSql + Sync);

/// Reserves.
pub async fn reserve(
    session: &Session,
    branch: &Branch,
    home: ShardIndex,
    epoch: Epoch,
    time: Duration,
    strategy: &str,
) -> Attempt {
    let (kind, home) = (branch.kind.name(), i32::from(home.0));
    let time = time.as_secs_f64() * 1000.0;
    let more: [Parameter<'_>; 4] = [&kind, &home, &epoch.0, &time];
    effect::one_statement(session, RESERVE, branch, strategy, &more).await
}

/// Confirms.
pub async fn confirm(session: &Session, branch: &Branch) -> Attempt {
    let parameters: [Parameter<'_>; 2] = [&branch.transfer.id.0, &branch.kind.name()];
    let run = async {
        let statement = session.prepare_cached(CONFIRM).await?;
        session.execute(&statement, &parameters).await
    };
    run.await.map_or_else(|error| attempt_of(branch.shard, &error), |_| Attempt::Done)
}

/// Cancels. False where the leg is final already.
///
/// # Errors
/// The statement failed; it may be cancelled or not.
pub async fn cancel(
    session: &Session,
    branch: &Branch,
    why: Refusal,
    strategy: &str,
) -> Result<bool, Error> {
    let statement = session.prepare_cached(CANCEL).await?;
    let parameters: [Parameter<'_>; 7] = [
        &branch.transfer.id.0,
        &branch.account().get(),
        &branch.counter_account().get(),
        &branch.transfer.amount.get(),
        &strategy,
        &branch.kind.name(),
        &why.name(),
    ];
    Ok(session.query_one(&statement, &parameters).await?.get(0))
}

/// The holds that have not ended, on `shard`, whose session this is; those that expire first come
/// first.
///
/// # Errors
/// The statement failed.
pub async fn open(session: &Session, shard: ShardIndex) -> Result<Vec<OpenHold>, Error> {
    let select = session.prepare_cached(OPEN).await?;
    let none: [Parameter<'_>; 0] = [];
    let rows = session.query(&select, &none).await?;
    let account = |id| AccountId::new(id).expect("accounts are numbered from 1");
    Ok(rows
        .iter()
        .map(|row| {
            let kind = LegKind::from_name(row.get(4)).expect("the table holds no other kinds");
            let (own, counter) = (account(row.get(1)), account(row.get(2)));
            let (source, target) =
                if kind == LegKind::Debit { (own, counter) } else { (counter, own) };
            let transfer = Transfer {
                id: TransferId(row.get(0)),
                source,
                target,
                amount: Amount::new(row.get(3)).expect("amounts are positive"),
                origin: IdOrigin::MayBeRepeated,
            };
            OpenHold {
                branch: Branch { transfer, kind, shard },
                epoch: Epoch(row.get(5)),
                is_expired: row.get(6),
            }
        })
        .collect())
}
