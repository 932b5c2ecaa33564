//! Putting a cluster back to what `init` left, between two measurements.

use tokio_postgres::{Client, Error};

/// Why a shard is not put back.
#[derive(Debug, thiserror::Error)]
pub enum ResetError {
    /// Something is still in flight.
    #[error("{0} prepared transaction(s) of this cluster are left; run recover first")]
    InFlight(usize),
    /// The shard did not do it.
    #[error(transparent)]
    Shard(#[from] Error),
}

/// Empties the ledger of one shard and gives every account its opening balance again. Must be
/// called only when nobody works on the cluster, after its audit has passed. `prefix` is what the
/// names of this cluster's prepared transactions begin with.
///
/// # Errors
/// Something is in flight, or the shard did not do it; then nothing has changed.
pub async fn reset(client: &mut Client, prefix: &str) -> Result<(), ResetError> {
    let prepared = crate::ledger::books::prepared(client, prefix).await?.len();
    if prepared > 0 {
        return Err(ResetError::InFlight(prepared));
    }
    let transaction = client.transaction().await?;
    transaction
        .batch_execute(
            "set local synchronous_commit = on; \
             truncate shardbank.leg, shardbank.decision; \
             update shardbank.account set balance = opening_balance, held = 0 \
             where balance <> opening_balance or held <> 0",
        )
        .await?;
    transaction.commit().await?;
    // What one measurement leaves dead, the next should not clear away. Only the owner can; for
    // anybody else the server warns and leaves it to autovacuum.
    client.batch_execute("vacuum (analyze) shardbank.account").await?;
    Ok(())
}
