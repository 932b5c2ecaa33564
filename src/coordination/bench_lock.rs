//! The lock that keeps two benchmarks off one cluster: each would measure the other, and the
//! reset of one would pull the ledger from under the other.

use std::time::Duration;

use tokio_postgres::Client;

use crate::outcome::ShardError;
use crate::shards::cluster::Cluster;
use crate::shards::failure::describe;
use crate::transfer::ShardIndex;

/// The first key of the lock ("SHBN"); there is only one of them in a database.
const LOCK_CLASS: i32 = 0x5348_424E;
const PATIENCE: Duration = Duration::from_secs(10);
const SHARD_0: ShardIndex = ShardIndex(0);

/// Held for as long as this value lives: it owns the session on shard 0 that has the lock.
pub struct BenchLock {
    _session: Client,
}

/// Takes the lock of `cluster`; nothing where another benchmark has it.
///
/// # Errors
/// Shard 0 did not answer.
pub async fn take(cluster: &Cluster) -> Result<Option<BenchLock>, ShardError> {
    let session = cluster.connect(SHARD_0, PATIENCE).await?;
    let row = session
        .query_one("select pg_try_advisory_lock($1, 0)", &[&LOCK_CLASS])
        .await
        .map_err(|error| describe(SHARD_0, &error))?;
    let taken: bool = row.get(0);
    Ok(taken.then_some(BenchLock { _session: session }))
}
