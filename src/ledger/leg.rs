//! The `leg` table: one row an effect, or the proof that it never will run.
//!
//! An effect inserts its own leg first, in its own transaction. So whoever inserts a leg for it,
//! a refusal or a tombstone, has made sure that it never runs; whoever meets one reads its
//! `outcome`; and whoever is kept waiting knows that the effect is still in flight.

use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::outcome::{LegOutcome, Refusal, StandingLeg};
use crate::shards::session::Session;
use crate::transfer::{AccountId, Amount, Branch, LegKind, TransferId};

/// Its DDL.
pub const DDL: &str = include_str!("../../sql/ledger/leg.sql");

const REFUSE: &str = "insert into shardbank.leg \
    (transfer_id, kind, account_id, amount, outcome, counter_account_id, requested_amount, \
     strategy, reason) \
    values ($1, $2, $3, 0, 'rejected', $4, $5, $6, $7) on conflict do nothing";
const ENTOMB: &str = "insert into shardbank.leg (transfer_id, kind, amount, outcome, strategy) \
    values ($1, $2, 0, 'empty', 'recovery') on conflict do nothing";
const SELECT: &str = "select outcome, account_id, counter_account_id, requested_amount, strategy, \
    reason from shardbank.leg where transfer_id = $1 and kind = $2";

/// Records `refusal` as the branch's leg. False where a leg stands already.
///
/// # Errors
/// The statement failed; it may be recorded or not.
pub async fn refuse(
    session: &Session,
    branch: &Branch,
    refusal: Refusal,
    strategy: &str,
) -> Result<bool, tokio_postgres::Error> {
    let insert = session.prepare_cached(REFUSE).await?;
    let parameters: [&(dyn ToSql + Sync); 7] = [
        &branch.transfer.id.0,
        &branch.kind.name(),
        &branch.account().get(),
        &branch.counter_account().get(),
        &branch.transfer.amount.get(),
        &strategy,
        &refusal.name(),
    ];
    Ok(session.execute(&insert, &parameters).await? == 1)
}

/// Places a tombstone. False where a leg stands already.
///
/// # Errors
/// The statement failed; it may be placed or not.
pub async fn entomb(
    session: &Session,
    transfer: TransferId,
    kind: LegKind,
) -> Result<bool, tokio_postgres::Error> {
    let insert = session.prepare_cached(ENTOMB).await?;
    let parameters: [&(dyn ToSql + Sync); 2] = [&transfer.0, &kind.name()];
    Ok(session.execute(&insert, &parameters).await? == 1)
}

/// The leg as it stands, if one does.
///
/// # Errors
/// The statement failed.
pub async fn read(
    session: &Session,
    transfer: TransferId,
    kind: LegKind,
) -> Result<Option<StandingLeg>, tokio_postgres::Error> {
    let select = session.prepare_cached(SELECT).await?;
    let parameters: [&(dyn ToSql + Sync); 2] = [&transfer.0, &kind.name()];
    Ok(session.query_opt(&select, &parameters).await?.map(|row| standing(&row)))
}

fn standing(row: &Row) -> StandingLeg {
    let outcome: &str = row.get(0);
    let reason: Option<&str> = row.get(5);
    let arguments = || {
        let account = AccountId::new(row.get::<_, Option<i64>>(1)?)?;
        let counter = AccountId::new(row.get::<_, Option<i64>>(2)?)?;
        Some((account, counter, Amount::new(row.get::<_, Option<i64>>(3)?)?))
    };
    StandingLeg {
        outcome: match outcome {
            "applied" => LegOutcome::Applied,
            "held" => LegOutcome::Held,
            "rejected" => LegOutcome::Rejected(Refusal::from_name(reason.unwrap_or_default())),
            _ => LegOutcome::Empty,
        },
        arguments: arguments(),
        strategy: row.get(4),
    }
}
