//! Holding off every writer on all shards, so that all of them can be read as of one instant.
//!
//! A SHARE lock on the ledger waits for every transaction that writes to it, prepared ones
//! included, and lets no other begin. Taken on all shards, in their order, it leaves no transfer
//! between prepare and commit anywhere: under two-phase commit every one is whole. What is two
//! commits by design, as under locks, may still be between them: then the money is on no account,
//! at that instant and for anybody.
//!
//! Who visits shards in another order may wait for this one while this one waits for them. So
//! nothing is waited for longer than `LOCK_TIMEOUT`; then all is let go and tried again. The
//! locks are held only until every shard's snapshot is taken: writers stand still for a moment,
//! not for as long as the reading takes.

use std::time::Duration;

use tokio_postgres::Client;

use super::PATIENCE;
use crate::ledger::books;
use crate::outcome::{AbortReason, ShardError};
use crate::shards::cluster::Cluster;
use crate::shards::failure::{Meaning, describe, meaning_of};

/// How long writers are waited for, and new ones kept waiting meanwhile, on one shard.
const LOCK_TIMEOUT: Duration = Duration::from_millis(500);
const TRIES: u32 = 10;
/// Between two tries; others get on with their work.
const PAUSE: Duration = Duration::from_millis(200);

/// For as long as this lives, nobody writes to the ledger of any shard.
pub(super) struct HeldOff {
    /// Their sessions hold the locks, which go with them.
    _sessions: Vec<Client>,
}

/// Holds off every writer.
///
/// # Errors
/// A shard did not answer, or somebody went on writing: a branch that stays prepared does.
pub(super) async fn hold_off_writers(cluster: &Cluster) -> Result<HeldOff, ShardError> {
    let mut tries = 0;
    'again: loop {
        tries += 1;
        let sessions = cluster.connect_all(PATIENCE).await?;
        for (shard, session) in cluster.routing().shards().zip(&sessions) {
            let Err(error) = books::lock(session, LOCK_TIMEOUT).await else { continue };
            let in_the_way = matches!(
                meaning_of(&error),
                Meaning::Retry(AbortReason::LockTimeout | AbortReason::Deadlock)
            );
            if !in_the_way {
                return Err(describe(shard, &error));
            }
            if tries == TRIES {
                return Err(ShardError {
                    shard,
                    sqlstate: None,
                    message: format!(
                        "somebody wrote to the ledger in each of {TRIES} tries and would not end; \
                         where `status` shows branches that stay prepared, run `recover`, else \
                         audit without --locking"
                    ),
                });
            }
            drop(sessions);
            tokio::time::sleep(PAUSE).await;
            continue 'again;
        }
        return Ok(HeldOff { _sessions: sessions });
    }
}
