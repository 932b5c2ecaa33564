//! The `lock_epoch` table, on shard 0: which lock service grants the tokens of which epoch.
//!
//! Tokens of two services, or of one that lost its data, cannot be compared. So a fence is an
//! epoch and a token, and the epoch is raised whenever the service or its identity is another
//! than the last: every older grant is then fenced out, and nobody is fenced out for ever.

use tokio_postgres::{Client, Error};

/// The epoch of the grants of `service`, known by `identity`: the last one's where it is the same,
/// else a new one.
///
/// # Errors
/// A statement failed; the epoch may be raised or not, which does no harm.
pub async fn of(client: &Client, service: &str, identity: &str) -> Result<i32, Error> {
    client
        .batch_execute(
            "begin; set local synchronous_commit = on; \
             lock table shardbank.lock_epoch in share row exclusive mode",
        )
        .await?;
    let raised = raise(client, service, identity).await;
    client.batch_execute(if raised.is_ok() { "commit" } else { "rollback" }).await?;
    raised
}

async fn raise(client: &Client, service: &str, identity: &str) -> Result<i32, Error> {
    let row = client
        .query_opt(
            "select epoch, service = $1 and service_id = $2 from shardbank.lock_epoch \
             order by epoch desc limit 1",
            &[&service, &identity],
        )
        .await?;
    let last = match row {
        Some(row) if row.get(1) => return Ok(row.get(0)),
        Some(row) => row.get(0),
        None => 0,
    };
    let row = client
        .query_one(
            "insert into shardbank.lock_epoch (epoch, service, service_id) \
             values ($1, $2, $3) returning epoch",
            &[&(last + 1), &service, &identity],
        )
        .await?;
    Ok(row.get(0))
}
