//! Putting a cluster back to what `init` left, between two measurements.
//!
//! Whoever resets may die between two shards, and a cluster of which one shard is emptied looks
//! robbed. So a reset is a two-phase commit of its own: prepared on every shard, decided on
//! shard 0, committed. It has a gid like any other branch, so recovery rolls back or completes
//! what a dead one left.
//!
//! | the resetter dies | what stands after recovery |
//! | --- | --- |
//! | some shards prepared | everything as it was |
//! | decided | every shard is emptied |

use std::ops::Range;

use tokio_postgres::{Client, Error};

use crate::ledger::books;
use crate::outcome::{Finish, ShardError};
use crate::shards::failure::describe;
use crate::shards::prepared;
use crate::transfer::{ClusterId, Epoch, LegKind, ShardIndex, TransferId};
use crate::verbs::{Gid, Register};

/// Committed decisions go with their legs. What was decided against stays: a stalled coordinator
/// must still meet it when it wakes.
const EMPTY: &str = "truncate shardbank.leg, shardbank.intent, shardbank.saga, \
    shardbank.outbox, shardbank.hold; \
    delete from shardbank.decision where verdict = 'commit'; \
    update shardbank.account set balance = opening_balance, held = 0, closed = false \
    where balance <> opening_balance or held <> 0 or closed;";
const CLOSE: &str = "update shardbank.account set closed = $3 \
    where id >= $1 and id < $2 and closed <> $3";
const DECIDE: &str = "insert into shardbank.decision (transfer_id, verdict, decided_by) \
    values ($1, 'commit', 'bench') on conflict do nothing";

/// The leg of a reset: it moved nothing, and whoever finds its branch gone knows that it was
/// carried out.
fn record(reset: TransferId) -> String {
    format!(
        "insert into shardbank.leg \
         (transfer_id, kind, amount, outcome, requested_amount, strategy) \
         values ('{reset}', 'debit', 0, 'applied', 0, 'reset');"
    )
}

/// Why a cluster is not put back.
#[derive(Debug, thiserror::Error)]
pub enum ResetError {
    /// Something is still in flight.
    #[error("shard {0}: {1} prepared transaction(s) of this cluster are left; run recover first")]
    InFlight(ShardIndex, usize),
    /// Recovery took the reset for one that had died.
    #[error("another process decided against the reset; nothing has changed")]
    Superseded,
    /// A shard did not do it. Recovery finishes or undoes what was begun.
    #[error("{0}; run recover")]
    Shard(#[from] ShardError),
}

/// Empties the ledger, gives every account its opening balance again and opens what was closed, on
/// all shards or none.
/// Must be called only when nobody works on the cluster, after its audit has passed. `clients`
/// lead to all shards, in order; `next_attempt` gives numbers that `epoch` never used.
///
/// # Errors
/// Something is in flight, or a shard did not do it.
pub async fn reset(
    clients: &[Client],
    cluster: ClusterId,
    epoch: Epoch,
    next_attempt: impl Fn() -> u64,
) -> Result<(), ResetError> {
    let shards: Vec<(ShardIndex, &Client)> = (0..).map(ShardIndex).zip(clients).collect();
    let prefix = Gid::prefix_of(cluster);
    for (shard, client) in &shards {
        let left = books::prepared(client, &prefix).await.map_err(of(*shard))?.len();
        if left > 0 {
            return Err(ResetError::InFlight(*shard, left));
        }
    }
    let (transfer, home) = (TransferId::fresh(), ShardIndex(0));
    // A server knows a name once, and several shards may be databases of one server.
    let gids: Vec<Gid> = shards
        .iter()
        .map(|_| Gid {
            cluster,
            epoch,
            register: Register::Table,
            home,
            transfer,
            kind: LegKind::Debit,
            attempt: next_attempt(),
        })
        .collect();
    for ((shard, client), gid) in shards.iter().zip(&gids) {
        // Nothing is decided yet: recovery rolls back whatever is prepared.
        let branch = format!(
            "set synchronous_commit = on; begin; {EMPTY} {} {}",
            record(transfer),
            prepared::prepare(gid)
        );
        client.batch_execute(&branch).await.map_err(of(*shard))?;
    }
    let decider = shards[0].1;
    if decider.execute(DECIDE, &[&transfer.0]).await.map_err(of(home))? == 0 {
        for ((_, client), gid) in shards.iter().zip(&gids) {
            // Recovery has done it, or will.
            client.batch_execute(&prepared::roll_back(gid)).await.ok();
        }
        return Err(ResetError::Superseded);
    }
    // Decided: recovery commits whatever is still prepared.
    for ((shard, client), gid) in shards.iter().zip(&gids) {
        let result = client.batch_execute(&prepared::commit(gid)).await;
        if let Finish::Unknown(error) = prepared::finish_of(*shard, result) {
            return Err(error.into());
        }
    }
    for (shard, client) in &shards {
        // What one measurement leaves dead, the next should not clear away. Only the owner can;
        // for anybody else the server warns and leaves it to autovacuum.
        client
            .batch_execute("vacuum (analyze) shardbank.account, shardbank.decision")
            .await
            .map_err(of(*shard))?;
    }
    Ok(())
}

/// Closes the accounts numbered `ids`, or opens them again, on every shard.
///
/// # Errors
/// A shard did not do it; others may have.
pub async fn set_closed(
    clients: &[Client],
    ids: Range<i64>,
    closed: bool,
) -> Result<(), ShardError> {
    for (shard, client) in (0..).map(ShardIndex).zip(clients) {
        client
            .execute(CLOSE, &[&ids.start, &ids.end, &closed])
            .await
            .map_err(|error| describe(shard, &error))?;
    }
    Ok(())
}

fn of(shard: ShardIndex) -> impl Fn(Error) -> ResetError {
    move |error| describe(shard, &error).into()
}
