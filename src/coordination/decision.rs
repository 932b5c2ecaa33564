//! The `decision` table: the verdict on a transfer, on its home shard. The first writer decides.
//!
//! The outcome of a transfer is learnt by writing, never by looking: [`decide`] inserts what is
//! wanted unless a row stands, then, in a separate statement, reads what stands. The insert waits
//! for an open conflicting one, so its answer is about rows that are committed.

use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::outcome::{Decision, Refusal, Verdict};
use crate::shards::session::Session;
use crate::transfer::{Participants, ShardIndex, TransferId};

/// Its DDL.
pub const DDL: &str = include_str!("../../sql/coordination/decision.sql");

const INSERT: &str = "insert into shardbank.decision \
    (transfer_id, verdict, participants, decided_by, reason) \
    values ($1, $2, $3, $4, $5) on conflict do nothing";
const SELECT: &str =
    "select verdict, reason, participants from shardbank.decision where transfer_id = $1";

/// Rows that vanish between the two statements were pruned; this many times it is not believed.
const LOOKS: u32 = 3;

/// As the column `participants` spells it: the shard of the debit, then that of the credit.
#[must_use]
pub fn column(participants: &Participants) -> Vec<i32> {
    [participants.debit, participants.credit].map(|shard| i32::from(shard.0)).to_vec()
}

fn of_column(shards: &[i32]) -> Participants {
    let shard = |i: usize| shards.get(i).and_then(|shard| u16::try_from(*shard).ok());
    // Taken for nothing it would bind whatever has the id.
    let [debit, credit] = [shard(0), shard(1)]
        .map(|shard| ShardIndex(shard.expect("a decision names the shards of both effects")));
    Participants { debit, credit }
}

/// Writes `wanted` unless a decision stands; returns the one that stands, or nothing where rows
/// keep vanishing.
///
/// # Errors
/// The statement failed; `wanted` may stand or not.
pub async fn decide(
    session: &Session,
    transfer: TransferId,
    wanted: Verdict,
    by: &str,
) -> Result<Option<Verdict>, tokio_postgres::Error> {
    let insert = session.prepare_cached(INSERT).await?;
    let participants = wanted.participants.as_ref().map(column);
    let (verdict, reason) = match wanted.decision {
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
) -> Result<Option<Verdict>, tokio_postgres::Error> {
    let select = session.prepare_cached(SELECT).await?;
    let row = session.query_opt(&select, &[&transfer.0 as &(dyn ToSql + Sync)]).await?;
    Ok(row.map(|row| {
        let verdict: &str = row.get(0);
        let reason: Option<&str> = row.get(1);
        let decision = if verdict == "commit" {
            Decision::Commit
        } else {
            Decision::Abort(Refusal::from_name(reason.unwrap_or_default()))
        };
        let participants: Option<Vec<i32>> = row.get(2);
        Verdict { decision, participants: participants.as_deref().map(of_column) }
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
