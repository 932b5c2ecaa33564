//! The `decision` table: the verdict on a transfer, on its home shard. The first writer decides.
//!
//! The outcome of a transfer is learnt by writing, never by looking: [`decide`] inserts what is
//! wanted unless a row stands, then, in a separate statement, reads what stands. The insert waits
//! for an open conflicting one, so its answer is about rows that are committed.

use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::outcome::{Decision, Refusal};
use crate::shards::session::Session;
use crate::transfer::{ShardIndex, TransferId};

/// Its DDL.
pub const DDL: &str = include_str!("../../sql/coordination/decision.sql");

const INSERT: &str = "insert into shardbank.decision \
    (transfer_id, verdict, participants, decided_by, reason) \
    values ($1, $2, $3, $4, $5) on conflict do nothing";
const SELECT: &str = "select verdict, reason from shardbank.decision where transfer_id = $1";

/// Rows that vanish between the two statements were pruned; this many times it is not believed.
const LOOKS: u32 = 3;

/// Writes `wanted` unless a decision stands; returns the one that stands, or nothing where rows
/// keep vanishing.
///
/// # Errors
/// The statement failed; `wanted` may stand or not.
pub async fn decide(
    session: &Session,
    transfer: TransferId,
    participants: Option<[ShardIndex; 2]>,
    wanted: Decision,
    by: &str,
) -> Result<Option<Decision>, tokio_postgres::Error> {
    let insert = session.prepare_cached(INSERT).await?;
    let participants: Option<Vec<i32>> =
        participants.map(|shards| shards.iter().map(|shard| i32::from(shard.0)).collect());
    let (verdict, reason) = match wanted {
        Decision::Commit => ("commit", None),
        Decision::Abort(refusal) => ("abort", Some(refusal.name())),
    };
    let parameters: [&(dyn ToSql + Sync); 5] = [&transfer.0, &verdict, &participants, &by, &reason];
    for _ in 0..LOOKS {
        if session.execute(&insert, &parameters).await? == 1 {
            return Ok(Some(wanted));
        }
        if let Some(standing) = read(session, transfer).await? {
            return Ok(Some(standing));
        }
    }
    Ok(None)
}

/// The decision that stands, if one does. Its absence proves nothing.
///
/// # Errors
/// The statement failed.
pub async fn read(
    session: &Session,
    transfer: TransferId,
) -> Result<Option<Decision>, tokio_postgres::Error> {
    let select = session.prepare_cached(SELECT).await?;
    let row = session.query_opt(&select, &[&transfer.0 as &(dyn ToSql + Sync)]).await?;
    Ok(row.map(|row| {
        let verdict: &str = row.get(0);
        let reason: Option<&str> = row.get(1);
        if verdict == "commit" {
            Decision::Commit
        } else {
            Decision::Abort(Refusal::from_name(reason.unwrap_or_default()))
        }
    }))
}

/// The ids among `transfers` that are decided `commit` here.
///
/// # Errors
/// The statement failed.
pub async fn committed_among(
    session: &Session,
    transfers: &[Uuid],
) -> Result<Vec<Uuid>, tokio_postgres::Error> {
    let rows = session
        .query(
            "select transfer_id from shardbank.decision \
             where verdict = 'commit' and transfer_id = any($1)",
            &[&transfers],
        )
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
