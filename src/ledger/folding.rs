//! Folding finished transfers into the opening balances of one shard: what stands of each
//! transfer, and one shard's part of a batch.

use std::time::{Duration, SystemTime};

use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error};
use uuid::Uuid;

use crate::ledger::messenger::Failure;
use crate::ledger::postgres::PostgresVerbs;
use crate::outcome::ShardError;
use crate::shards::failure::describe;
use crate::shards::prepared;
use crate::shards::session::Session;
use crate::transfer::{Epoch, ShardIndex};
use crate::verbs::{Gid, Verbs};

/// What stands of one transfer on one shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Whose.
    pub transfer: Uuid,
    /// Whether all of it is from before the cut-off.
    pub is_old: bool,
    /// Whether one of its legs is applied.
    pub is_applied: bool,
    /// Whether it is no transfer but an earlier batch.
    pub is_batch: bool,
    /// What its applied legs come to, in minor units.
    pub change: i64,
    /// How many legs.
    pub legs: i64,
    /// How many decisions: none or one.
    pub decisions: i64,
    /// Whether the decision, if there is one, is `commit`.
    pub is_committed: Option<bool>,
    /// What the rows take, in bytes, without their index entries.
    pub bytes: i64,
}

/// A page of what stands on `shard`, of at most `limit` transfers with ids after `after`, in the
/// order of ids.
///
/// # Errors
/// The shard did not answer.
pub async fn standing(
    verbs: &PostgresVerbs,
    shard: ShardIndex,
    cutoff: SystemTime,
    after: Uuid,
    limit: i64,
) -> Result<Vec<Standing>, ShardError> {
    let parameters: [&(dyn ToSql + Sync); 3] = [&cutoff, &after, &limit];
    let rows = verbs
        .messenger()
        .ask(shard, async |session| {
            let text = include_str!("../../sql/prune/standing.sql");
            session.query(&session.prepare_cached(text).await?, &parameters).await
        })
        .await
        .map_err(|failure| failure.error)?;
    let standing = rows.iter().map(|row| Standing {
        transfer: row.get("transfer_id"),
        is_old: row.get("is_old"),
        is_applied: row.get("is_applied"),
        is_batch: row.get("is_batch"),
        change: row.get("change"),
        legs: row.get("legs"),
        decisions: row.get("decisions"),
        is_committed: row.get::<_, Option<&str>>("verdict").map(|verdict| verdict == "commit"),
        bytes: row.get("bytes"),
    });
    Ok(standing.collect())
}

/// What a batch is on one shard.
#[derive(Debug, Clone, Copy)]
pub struct Part<'a> {
    /// Its transfers.
    pub transfers: &'a [Uuid],
    /// What is from then or later is not touched.
    pub cutoff: SystemTime,
    /// How many legs and decisions are expected to go.
    pub expected: (i64, i64),
}

/// One shard's part of a batch, prepared under `gid`. Returns what it moved into the opening
/// balances there, or nothing where the shard does not hold what was expected: then nothing is
/// prepared.
///
/// # Errors
/// Nothing is prepared either, unless the failure says that nobody knows.
pub async fn prepare(
    verbs: &PostgresVerbs,
    shard: ShardIndex,
    part: Part<'_>,
    gid: &Gid,
) -> Result<Option<i64>, Failure> {
    let end = prepared::prepare(gid);
    verbs
        .messenger()
        .ask(shard, async |session| {
            // One message after the other: PREPARE TRANSACTION in a failed transaction would
            // answer ROLLBACK without an error, so it is not sent before all else is done.
            match fold(session, part, gid.transfer.0, &end).await {
                Ok(folded) => Ok(folded),
                Err(error) => {
                    session.batch_execute("rollback").await?;
                    Err(error)
                }
            }
        })
        .await
}

async fn fold(
    session: &Session,
    part: Part<'_>,
    batch: Uuid,
    end: &str,
) -> Result<Option<i64>, Error> {
    session.batch_execute("begin").await?;
    let lock = session.prepare_cached(include_str!("../../sql/prune/lock.sql")).await?;
    session.execute(&lock, &[&part.transfers, &part.cutoff]).await?;
    let fold = session.prepare_cached(include_str!("../../sql/prune/fold.sql")).await?;
    let row = session.query_one(&fold, &[&part.transfers, &part.cutoff, &batch]).await?;
    let folded: (i64, i64) = (row.get("legs"), row.get("decisions"));
    let missing_accounts: i64 = row.get("missing_accounts");
    if folded != part.expected || missing_accounts > 0 {
        session.batch_execute("rollback").await?;
        return Ok(None);
    }
    session.batch_execute(end).await?;
    Ok(Some(row.get("change")))
}

/// The key of the advisory lock that a prune holds on shard 0 ("SHBP").
const LOCK: i64 = 0x5348_4250;

/// Sees to it that nobody else prunes the cluster for as long as the answer lives; none where
/// somebody does.
///
/// # Errors
/// Shard 0 did not answer.
pub async fn alone(verbs: &PostgresVerbs) -> Result<Option<Client>, ShardError> {
    let (cluster, patience) = (verbs.pools().cluster(), verbs.pools().settings().patience);
    let shard = ShardIndex(0);
    let client = cluster.connect(shard, patience).await?;
    let locked = client.query_one("select pg_try_advisory_lock($1)", &[&LOCK]).await;
    let locked = locked.map_err(|error| describe(shard, &error))?;
    Ok(locked.get::<_, bool>(0).then_some(client))
}

/// An instant by a shard's clock, and how exactly it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    /// How far the shard's clock is ahead of this process's, in microseconds.
    pub ahead_us: i64,
    /// By how much that may be wrong.
    pub uncertainty: Duration,
}

/// Compares the clock of `shard` with this process's.
///
/// # Errors
/// The shard did not answer.
pub async fn clock(verbs: &PostgresVerbs, shard: ShardIndex) -> Result<Clock, ShardError> {
    // A second look, because the first may have had to connect.
    let mut clock = look_at_clock(verbs, shard).await?;
    let again = look_at_clock(verbs, shard).await?;
    if again.uncertainty < clock.uncertainty {
        clock = again;
    }
    Ok(clock)
}

async fn look_at_clock(verbs: &PostgresVerbs, shard: ShardIndex) -> Result<Clock, ShardError> {
    let before = SystemTime::now();
    let there = verbs
        .messenger()
        .ask(shard, async |session| {
            session.query_one("select clock_timestamp()", &[]).await.map(|row| row.get(0))
        })
        .await
        .map_err(|failure| failure.error)?;
    let uncertainty = before.elapsed().unwrap_or_default() / 2;
    Ok(Clock { ahead_us: microseconds_since(there, before + uncertainty), uncertainty })
}

fn microseconds_since(later: SystemTime, earlier: SystemTime) -> i64 {
    let microseconds = |difference: Duration| i64::try_from(difference.as_micros());
    match later.duration_since(earlier) {
        Ok(ahead) => microseconds(ahead).unwrap_or(i64::MAX),
        Err(behind) => microseconds(behind.duration()).map_or(i64::MIN, |behind| -behind),
    }
}

/// A coordinator that has not been closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenEpoch {
    /// Its epoch.
    pub epoch: Epoch,
    /// Host and process number.
    pub name: String,
    /// When it began, by shard 0's clock.
    pub started_at: SystemTime,
}

/// The time by shard 0's clock, and of all coordinators but this one that are open after that,
/// the one that began first.
///
/// # Errors
/// Shard 0 did not answer.
pub async fn now_and_oldest_other(
    verbs: &PostgresVerbs,
) -> Result<(SystemTime, Option<OpenEpoch>), ShardError> {
    let own = verbs.epoch().await?;
    verbs
        .messenger()
        .ask(ShardIndex(0), async |session| {
            // In two statements: whoever is not seen by the second began after the first.
            let now = session.query_one("select clock_timestamp()", &[]).await?.get(0);
            let row = session
                .query_opt(
                    "select epoch, name, started_at from shardbank.coordinator \
                     where ended_at is null and epoch <> $1 order by started_at limit 1",
                    &[&own.0],
                )
                .await?;
            let oldest = row.map(|row| OpenEpoch {
                epoch: Epoch(row.get(0)),
                name: row.get(1),
                started_at: row.get(2),
            });
            Ok((now, oldest))
        })
        .await
        .map_err(|failure| failure.error)
}
