//! `shardbank clean`: removes what `init` made, once it was shown and named.

use std::collections::BTreeSet;
use std::io::{self, BufRead, IsTerminal, Write};

use super::cluster::{PATIENCE, required_shards, runtime};
use super::output::print;
use super::{Exit, Stop};
use crate::cli::cluster::CleanArguments;
use crate::outcome::ShardError;
use crate::shards::ShardTarget;
use crate::shards::marker::SchemaState;
use crate::shards::removal::{self, COUNTED_MAX, Found};
use crate::transfer::ClusterId;

/// Shows what is there, asks, and removes it.
///
/// # Errors
/// A shard that cannot be looked at or whose schema is not ours, a cluster that is in use, or
/// another id than the cluster's.
pub fn run(arguments: &CleanArguments) -> Result<(), Stop> {
    let targets = required_shards(&arguments.shards)?;
    let runtime = runtime()?;
    let found = runtime.block_on(removal::inspect(&targets, PATIENCE)).map_err(stop)?;
    print(&description(&found, &targets))?;
    let clusters: BTreeSet<ClusterId> =
        found.iter().filter_map(|one| one.state.cluster()).collect();
    if clusters.is_empty() {
        return refusals(&found, &targets, None).map_or_else(|| print("nothing to remove"), Err);
    }
    if arguments.dry_run {
        return print("nothing was removed (--dry-run)");
    }
    let cluster = match arguments.cluster_id {
        Some(id) => id,
        None => ask()?,
    };
    if !clusters.contains(&cluster) {
        let line = format!("{cluster} is not a cluster on these shards; nothing was removed");
        return Err(Stop::new(Exit::Usage, line));
    }
    if let Some(stop) = refusals(&found, &targets, Some(cluster)) {
        return Err(stop);
    }
    runtime.block_on(removal::remove(&targets, cluster, PATIENCE)).map_err(stop)?;
    print(&format!("removed cluster {cluster}"))
}

fn stop(errors: Vec<ShardError>) -> Stop {
    Stop { exit: Exit::Failed, lines: errors.iter().map(ToString::to_string).collect() }
}

fn description(found: &[Found], targets: &[ShardTarget]) -> String {
    let lines = found.iter().zip(targets).enumerate().map(|(index, (one, target))| {
        let what = match one.state {
            SchemaState::Absent => "no schema shardbank".to_owned(),
            SchemaState::Foreign => "a schema shardbank that init has not made".to_owned(),
            SchemaState::NotPermitted => "a schema shardbank that this role may not see".to_owned(),
            SchemaState::Unfinished(cluster) => format!("an unfinished init of cluster {cluster}"),
            SchemaState::Ours(marker) => format!(
                "shard {} of {} of cluster {}, {}{} accounts",
                marker.index,
                marker.count,
                marker.cluster,
                if one.accounts.is_some_and(|count| count > COUNTED_MAX) { "about " } else { "" },
                one.accounts.unwrap_or_default()
            ),
        };
        let in_flight = match (one.prepared.len(), one.sessions) {
            (0, 0) => String::new(),
            (prepared, sessions) => {
                format!(", {prepared} prepared transactions, {sessions} sessions at work")
            }
        };
        format!("shard {index} ({}): {what}{in_flight}", target.name())
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Why nothing is removed from any shard.
fn refusals(found: &[Found], targets: &[ShardTarget], cluster: Option<ClusterId>) -> Option<Stop> {
    let why = |one: &Found| match one.state {
        SchemaState::Foreign => Some("its schema is not ours and stays; leave out this shard"),
        SchemaState::NotPermitted => Some("run clean as the role that ran init"),
        _ if one.state.cluster() != cluster => None,
        _ if !one.prepared.is_empty() => {
            Some("transactions of the cluster are prepared; run `shardbank recover` first")
        }
        _ if one.sessions > 0 => Some("somebody works on the cluster; stop them first"),
        _ => None,
    };
    let lines = found.iter().zip(targets).enumerate().filter_map(|(index, (one, target))| {
        why(one).map(|why| format!("shard {index} ({}): {why}", target.name()))
    });
    let lines: Vec<String> = lines.collect();
    (!lines.is_empty()).then_some(Stop { exit: Exit::Failed, lines })
}

/// The id that somebody types.
fn ask() -> Result<ClusterId, Stop> {
    let usage = |line: &str| Stop::new(Exit::Usage, line);
    if !io::stdin().is_terminal() {
        return Err(usage("nobody is there to be asked; name the cluster with --cluster-id"));
    }
    print("all its accounts and its history will be gone; type the cluster's id to remove it:")?;
    let mut line = String::new();
    io::stdout().flush().ok();
    io::stdin().lock().read_line(&mut line).map_err(|error| {
        Stop::new(Exit::Failed, format!("cannot read from standard input: {error}"))
    })?;
    line.trim().parse().map_err(|_| usage("that is not a cluster's id; nothing was removed"))
}
