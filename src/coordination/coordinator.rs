//! The `coordinator` table, on shard 0: one row a life of a coordinator process.
//!
//! An epoch is guarded by a session advisory lock on shard 0, taken before the row is written
//! and held for as long as the process lives. Whoever obtains it knows that the epoch is dead.

use tokio_postgres::Client;

use crate::transfer::Epoch;

/// Its DDL.
pub const DDL: &str = include_str!("../../sql/coordination/coordinator.sql");

/// The first key of our advisory locks on epochs ("SHBE"); the second is the epoch.
const LOCK_CLASS: i32 = 0x5348_4245;

/// Takes a fresh epoch, durably, and its lock, on a session that must then be kept.
///
/// # Errors
/// A statement failed; no epoch was begun that anybody could use.
pub async fn begin(client: &Client, name: &str) -> Result<Epoch, tokio_postgres::Error> {
    client.batch_execute("begin").await?;
    let row = client
        .query_one("insert into shardbank.coordinator (name) values ($1) returning epoch", &[&name])
        .await?;
    let epoch = Epoch(row.get(0));
    // Locked before the row can be seen by others, so that nobody ever takes it for dead.
    client.execute("select pg_advisory_lock($1, $2)", &[&LOCK_CLASS, &lock_key(epoch)]).await?;
    client.batch_execute("commit").await?;
    Ok(epoch)
}

/// Advisory locks take 32-bit keys; epochs of one cluster do not come near that many.
fn lock_key(epoch: Epoch) -> i32 {
    i32::try_from(epoch.0).expect("a cluster has fewer than two thousand million epochs")
}

/// The epochs that have begun and are not closed.
///
/// # Errors
/// The statement failed.
pub async fn open_epochs(client: &Client) -> Result<Vec<Epoch>, tokio_postgres::Error> {
    let rows = client
        .query("select epoch from shardbank.coordinator where ended_at is null order by 1", &[])
        .await?;
    Ok(rows.iter().map(|row| Epoch(row.get(0))).collect())
}

/// Notes that nothing of `epoch` is left anywhere.
///
/// # Errors
/// The statement failed.
pub async fn close(client: &Client, epoch: Epoch) -> Result<(), tokio_postgres::Error> {
    client
        .execute(
            "update shardbank.coordinator set ended_at = clock_timestamp() \
             where epoch = $1 and ended_at is null",
            &[&epoch.0],
        )
        .await?;
    Ok(())
}

/// Whether the lock of `epoch` could be obtained, on a session that does not hold it: its
/// coordinator has ended, or must take a new epoch before it starts anything more. The lock is
/// given back at once, for a dead epoch stays dead.
///
/// # Errors
/// The statement failed.
pub async fn is_dead(client: &Client, epoch: Epoch) -> Result<bool, tokio_postgres::Error> {
    let row = client
        .query_one(
            "select case when pg_try_advisory_lock($1, $2) \
             then pg_advisory_unlock($1, $2) else false end",
            &[&LOCK_CLASS, &lock_key(epoch)],
        )
        .await?;
    Ok(row.get(0))
}

/// Asks every session named `application_name` in this database to end, and returns how many
/// there were.
///
/// # Errors
/// The statement failed.
pub async fn end_sessions(
    client: &Client,
    application_name: &str,
) -> Result<i64, tokio_postgres::Error> {
    let row = client
        .query_one(
            "select count(pg_terminate_backend(pid)) from pg_stat_activity \
             where application_name = $1 and datname = current_database() \
             and pid <> pg_backend_pid()",
            &[&application_name],
        )
        .await?;
    Ok(row.get(0))
}
