//! Removes what `init` made, and nothing else.
//!
//! Only a schema that bears our mark, only for the cluster that was named, only while nothing of
//! it is in flight; each object by its name, so that what somebody else has added keeps the
//! schema from being dropped.

use std::time::Duration;

use futures_util::future::join_all;
use tokio_postgres::{Client, Error};

use super::failure::describe;
use super::marker::{self, SchemaState};
use super::schema;
use super::target::ShardTarget;
use crate::outcome::ShardError;
use crate::transfer::{ClusterId, ShardIndex};
use crate::verbs::Gid;

/// Above this many accounts their number is the server's own estimate.
pub const COUNTED_MAX: i64 = 1_000_000;

/// What is on one shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Whose schema.
    pub state: SchemaState,
    /// How many accounts, where the schema is complete; above [`COUNTED_MAX`], about.
    pub accounts: Option<i64>,
    /// The cluster's prepared transactions.
    pub prepared: Vec<String>,
    /// Sessions that work on the cluster right now.
    pub sessions: i64,
}

/// Looks at every shard without touching it, in order.
///
/// # Errors
/// The shards that could not be looked at.
pub async fn inspect(
    targets: &[ShardTarget],
    patience: Duration,
) -> Result<Vec<Found>, Vec<ShardError>> {
    let looked = (0..).map(ShardIndex).zip(targets).map(async |(index, target)| {
        let client = connect(index, target, patience).await?;
        look(&client).await.map_err(|error| describe(index, &error))
    });
    all(join_all(looked).await)
}

/// Removes the schema of `cluster` from every shard that has it, each shard in one transaction.
///
/// # Errors
/// The shards where it stays, and why: something in flight has appeared, somebody else's object
/// is in the schema or hangs on it, or the shard did not answer.
pub async fn remove(
    targets: &[ShardTarget],
    cluster: ClusterId,
    patience: Duration,
) -> Result<(), Vec<ShardError>> {
    let removed = (0..).map(ShardIndex).zip(targets).map(async |(index, target)| {
        let mut client = connect(index, target, patience).await?;
        let found = look(&client).await.map_err(|error| describe(index, &error))?;
        if found.state.cluster() != Some(cluster) {
            return Ok(());
        }
        if !found.prepared.is_empty() || found.sessions > 0 {
            return Err(ShardError {
                shard: index,
                sqlstate: None,
                message: "the cluster is in use; stop what runs and `shardbank recover`".to_owned(),
            });
        }
        drop_all(&mut client).await.map_err(|error| explained(describe(index, &error)))
    });
    all(join_all(removed).await).map(drop)
}

fn all<T>(results: Vec<Result<T, ShardError>>) -> Result<Vec<T>, Vec<ShardError>> {
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for result in results {
        match result {
            Ok(one) => good.push(one),
            Err(error) => bad.push(error),
        }
    }
    if bad.is_empty() { Ok(good) } else { Err(bad) }
}

async fn connect(
    index: ShardIndex,
    target: &ShardTarget,
    patience: Duration,
) -> Result<Client, ShardError> {
    target.connect(patience).await.map_err(|error| error.of(index))
}

async fn look(client: &Client) -> Result<Found, Error> {
    let state = marker::read(client).await?;
    let mut found = Found { state, accounts: None, prepared: Vec::new(), sessions: 0 };
    if let SchemaState::Ours(_) = state {
        // Counting tens of millions takes longer than anybody wants to wait for a number.
        let count = "select coalesce((select nullif(c.reltuples, -1)::int8 \
                 from pg_catalog.pg_class c where c.oid = 'shardbank.account'::regclass \
                 and c.reltuples > $1::float8), (select count(*) from shardbank.account))";
        found.accounts = Some(client.query_one(count, &[&(COUNTED_MAX as f64)]).await?.get(0));
    }
    let Some(cluster) = state.cluster() else { return Ok(found) };
    let prepared = "select gid from pg_catalog.pg_prepared_xacts \
         where database = pg_catalog.current_database() and starts_with(gid, $1) order by gid";
    let rows = client.query(prepared, &[&Gid::prefix_of(cluster)]).await?;
    found.prepared = rows.iter().map(|row| row.get(0)).collect();
    let sessions = "select count(*) from pg_catalog.pg_stat_activity \
         where datname = pg_catalog.current_database() and starts_with(application_name, $1)";
    let prefix = format!("shardbank/{cluster}/");
    found.sessions = client.query_one(sessions, &[&prefix]).await?.get(0);
    Ok(found)
}

async fn drop_all(client: &mut Client) -> Result<(), Error> {
    let set = "set statement_timeout = 0; set lock_timeout = '5s'; set client_min_messages = error";
    client.batch_execute(set).await?;
    let transaction = client.transaction().await?;
    transaction.batch_execute(&schema::drops().join("; ")).await?;
    transaction.commit().await
}

fn explained(mut error: ShardError) -> ShardError {
    match error.sqlstate.as_deref() {
        Some("2BP01") => error.message.push_str(
            "; somebody has put an object into the schema shardbank or hung one on it: remove it \
             yourself, nothing was dropped",
        ),
        Some("42501") => error.message.push_str("; run clean as the role that ran init"),
        Some("55P03") => error.message.push_str("; something still uses the tables: stop it"),
        _ => {}
    }
    error
}
