//! What the commands share that coordinate: a checked cluster and an epoch on it.

use std::path::PathBuf;
use std::time::Duration;

use super::cluster::{PATIENCE, warn};
use super::{Exit, Stop};
use crate::cli::operate::CoordinatorArguments;
use crate::coordination::bells::Bells;
use crate::coordination::decision_logs::DecisionLogs;
use crate::coordination::presence::{Presence, process_name};
use crate::ledger::pools::PoolSettings;
use crate::ledger::postgres::CoordinatorContext;
use crate::shards::ShardTarget;
use crate::shards::cluster::Cluster;
use crate::shards::preflight::{self, Need, SchemaNeed};
use crate::transfer::ShardIndex;

/// Checks all shards and opens the cluster that they are.
///
/// # Errors
/// Whatever is wrong with any of them.
pub(super) async fn open(
    targets: Vec<ShardTarget>,
    prepared_transactions: u32,
    connections: u32,
) -> Result<Cluster, Stop> {
    let need = Need { schema: SchemaNeed::Ours, prepared_transactions, connections };
    let checked = preflight::check(&targets, &need, PATIENCE).await?;
    warn(&checked);
    let id = checked.cluster.ok_or_else(|| {
        Stop::new(Exit::Failed, "no cluster is on these shards; make one with `shardbank init`")
    })?;
    Ok(Cluster::new(id, targets))
}

/// Takes an epoch on `cluster`.
///
/// # Errors
/// Shard 0 cannot be reached.
pub(super) async fn begin(
    cluster: Cluster,
    arguments: &CoordinatorArguments,
) -> Result<CoordinatorContext, Stop> {
    let target = cluster.target(ShardIndex(0)).clone();
    let presence = Presence::begin(cluster.id(), target, process_name())
        .await
        .map_err(|error| Stop::new(Exit::Failed, error.to_string()))?;
    Ok(context(cluster, presence, arguments))
}

/// The same around a presence that is there already.
pub(super) fn context(
    cluster: Cluster,
    presence: Presence,
    arguments: &CoordinatorArguments,
) -> CoordinatorContext {
    let directory = arguments.decision_log.clone().unwrap_or_else(default_log_directory);
    let logs = DecisionLogs::new(directory, cluster.id());
    CoordinatorContext {
        cluster,
        presence,
        logs,
        bells: Bells::default(),
        armed: arguments.armed(),
    }
}

/// How one transfer, or one recovery, talks to the shards.
pub(super) fn settings(arguments: &CoordinatorArguments) -> PoolSettings {
    let lock_timeout = Duration::from_millis(arguments.lock_timeout);
    PoolSettings {
        connections: 2,
        lock_timeout,
        patience: PoolSettings::default().patience.max(lock_timeout * 2),
    }
}

/// `$XDG_STATE_HOME/shardbank/decisions`, or the like.
pub(super) fn default_log_directory() -> PathBuf {
    let state = std::env::var_os("XDG_STATE_HOME").filter(|value| !value.is_empty());
    let state = state
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state")));
    state.unwrap_or_else(std::env::temp_dir).join("shardbank/decisions")
}
