//! `shardbank status`: what is in flight, what it blocks, and how full the shards are.

use std::time::Duration;

use super::cluster::{PATIENCE, required_shards, runtime};
use super::output::print;
use super::{Exit, Stop};
use crate::cli::operate::StatusArguments;
use crate::ledger::inspection::{self, Inspection, Prepared};
use crate::shards::ShardTarget;
use crate::shards::cluster::Cluster;
use crate::shards::failure::describe;
use crate::shards::reachable;
use crate::transfer::ShardIndex;
use crate::verbs::Gid;

/// A prepared transaction holds its locks and keeps VACUUM from clearing away anything newer.
const OLD: Duration = Duration::from_secs(60);

/// Shows the state of every shard.
///
/// # Errors
/// A shard cannot be reached; the others are shown all the same.
pub fn run(arguments: &StatusArguments) -> Result<(), Stop> {
    let targets = required_shards(&arguments.shards)?;
    runtime()?.block_on(status(targets))
}

async fn status(targets: Vec<ShardTarget>) -> Result<(), Stop> {
    let found = reachable::look(&targets, PATIENCE)
        .await
        .map_err(|lines| Stop { exit: Exit::Failed, lines })?;
    let cluster = Cluster::new(found.cluster, targets);
    print(&format!("cluster {} of {} shards", cluster.id(), cluster.routing().shard_count()))?;
    for (shard, target) in cluster.targets() {
        let shown = match cluster.connect(shard, PATIENCE).await {
            Ok(client) => inspection::inspect(&client)
                .await
                .map(|inspection| in_words(&inspection, cluster.id()))
                .map_err(|error| describe(shard, &error)),
            Err(error) => Err(error),
        };
        print(&format!("shard {shard} ({})", target.name()))?;
        match shown {
            Ok(lines) => print(&lines)?,
            Err(error) => print(&format!("  cannot be looked at: {}", error.message))?,
        }
    }
    coordinators(&cluster).await?;
    if found.unreachable.is_empty() {
        Ok(())
    } else {
        Err(Stop { exit: Exit::Incomplete, lines: found.unreachable })
    }
}

async fn coordinators(cluster: &Cluster) -> Result<(), Stop> {
    let Ok(client) = cluster.connect(ShardIndex(0), PATIENCE).await else {
        return print("coordinators: unknown, shard 0 keeps them");
    };
    let epochs = inspection::open_epochs(&client)
        .await
        .map_err(|error| Stop::new(Exit::Failed, describe(ShardIndex(0), &error).to_string()))?;
    if epochs.is_empty() {
        return print("coordinators: none");
    }
    print("coordinators:")?;
    for row in epochs {
        let dead = crate::coordination::coordinator::is_dead(&client, row.epoch).await;
        let state = match dead {
            Ok(true) => "dead; run recover",
            Ok(false) => "alive",
            Err(_) => "unknown",
        };
        print(&format!("  epoch {} ({}), {} s old: {state}", row.epoch, row.name, row.age_s))?;
    }
    Ok(())
}

fn in_words(inspection: &Inspection, cluster: crate::transfer::ClusterId) -> String {
    let is_ours =
        |prepared: &&Prepared| prepared.gid.parse::<Gid>().is_ok_and(|gid| gid.cluster == cluster);
    let ours: Vec<&Prepared> = inspection.prepared.iter().filter(is_ours).collect();
    let others = inspection.prepared.len() - ours.len();
    let mut lines = vec![
        format!(
            "  about {} accounts and {} legs, {} bytes on disk, {} session(s) of this tool",
            inspection.accounts_estimate,
            inspection.legs_estimate,
            inspection.bytes,
            inspection.sessions
        ),
        format!(
            "  prepared transactions: {} of this cluster, {others} of others, {} slots",
            ours.len(),
            inspection.slots
        ),
    ];
    if let Some(age) = inspection.oldest_intent {
        lines.push(format!(
            "  transfers under locks whose credit is owed: {}, the oldest for {:.1} s; recover, or \
             the next holder of their source, makes it",
            inspection.open_intents,
            age.as_secs_f64()
        ));
    }
    let [balances, held] = inspection.totals;
    let [open, expired] = inspection.open_holds;
    let remedy = if expired > 0 { "; recover ends those" } else { "" };
    lines.push(format!(
        "  balances {balances}, of which {held} held and {} available; {open} hold(s) open, {expired} \
         of them expired{remedy}",
        balances - held
    ));
    for saga in &inspection.open_sagas {
        let remedy = if saga.state == "dead" {
            "; given up: recover --retry-dead or recover --refund-dead ends it"
        } else {
            ""
        };
        let last = saga.last_error.as_deref().map_or_else(String::new, |why| format!(", {why}"));
        lines.push(format!(
            "    saga {} is {} since {} s, {} attempt(s){last}{remedy}",
            saga.transfer, saga.state, saga.age_s, saga.attempts
        ));
    }
    if let Some(age) = inspection.oldest_event {
        lines.push(format!(
            "  events on their way: {}, the oldest for {:.1} s; relays deliver them, or recover does",
            inspection.open_events,
            age.as_secs_f64()
        ));
    }
    for event in &inspection.parked_events {
        lines.push(format!(
            "    {} of transfer {} is parked, and {} later event(s) of account {} behind it: {}; see \
             to the cause and run recover",
            event.kind, event.transfer, event.behind, event.account, event.error
        ));
    }
    for prepared in ours {
        let warning = if prepared.age > OLD {
            "; it holds its locks and holds VACUUM back: run recover"
        } else {
            ""
        };
        lines.push(format!(
            "    {} is {:.1} s old, {} session(s) wait for it{warning}",
            prepared.gid,
            prepared.age.as_secs_f64(),
            prepared.blocked
        ));
    }
    lines.join("\n")
}
