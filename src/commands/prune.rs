//! `shardbank prune`: folds old finished transfers into the opening balances.

use std::io::{self, Write};
use std::time::Instant;

use jiff::Timestamp;

use super::cluster::{required_shards, runtime};
use super::coordinator::{begin, open, settings};
use super::output::print;
use super::{Exit, Stop};
use crate::cli::prune::PruneArguments;
use crate::ledger::postgres::PostgresVerbs;
use crate::prune::{Pruned, prune};
use crate::shards::ShardTarget;
use crate::strategies::recovery::recover;

/// Connections to a shard: the batch's, a recoverer's, the epoch's.
const CONNECTIONS: u32 = 5;

/// Prunes.
///
/// # Errors
/// A shard did not answer, or something is half applied.
pub fn run(arguments: &PruneArguments) -> Result<(), Stop> {
    let targets = required_shards(&arguments.shards)?;
    runtime()?.block_on(run_on(targets, arguments))
}

async fn run_on(targets: Vec<ShardTarget>, arguments: &PruneArguments) -> Result<(), Stop> {
    let slots = u32::from(!arguments.dry_run);
    let cluster = open(targets, slots, CONNECTIONS).await?;
    let context = begin(cluster, &arguments.coordinator).await?;
    let verbs = PostgresVerbs::new(context, settings(&arguments.coordinator));
    // A dead coordinator that nobody has cleared away would hold back the cut-off.
    if arguments.coordinator.fail_at.is_none() {
        recover(&verbs, super::recover::GRACE).await;
    }
    let began = Instant::now();
    let pruned = prune(&verbs, &arguments.settings()).await;
    verbs.retire().await;
    let pruned = pruned.map_err(|error| Stop::new(Exit::Failed, error.to_string()))?;
    print(&in_words(&pruned, arguments.dry_run, began.elapsed().as_secs_f64()))?;
    if let Some(held_back_by) = &pruned.held_back_by {
        writeln!(
            io::stderr(),
            "warning: coordinator {} ({}) is not closed, so nothing that happened since it began \
             was touched",
            held_back_by.epoch,
            held_back_by.name
        )
        .ok();
    }
    verdict(&pruned)
}

fn in_words(pruned: &Pruned, dry_run: bool, seconds: f64) -> String {
    let did = if dry_run { "would fold" } else { "folded" };
    let before = Timestamp::try_from(pruned.cutoff).map_or_else(
        |_| "the beginning".to_owned(),
        |cutoff| cutoff.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
    );
    let mut lines = vec![format!(
        "{did} {} transfer(s) from before {before}: {} legs, {} decisions, {} bytes of rows, in \
         {seconds:.1} s",
        pruned.transfers, pruned.legs, pruned.decisions, pruned.bytes
    )];
    if pruned.in_flight > 0 {
        lines.push(format!("left {} transfer(s) with a prepared branch", pruned.in_flight));
    }
    if pruned.changed > 0 {
        lines.push(format!(
            "left {} transfer(s) that changed meanwhile; prune again",
            pruned.changed
        ));
    }
    lines.join("\n")
}

fn verdict(pruned: &Pruned) -> Result<(), Stop> {
    let mut lines: Vec<String> = pruned.evidence_shown.iter().map(ToString::to_string).collect();
    if pruned.evidence > 0 {
        lines.push(format!(
            "{} transfer(s) are half applied, or their decision says otherwise, and were left as \
             evidence; run `shardbank audit`",
            pruned.evidence
        ));
        return Err(Stop { exit: Exit::InvariantBroken, lines });
    }
    lines.extend(pruned.unfinished.iter().chain(&pruned.stopped).map(ToString::to_string));
    if lines.is_empty() {
        return Ok(());
    }
    lines.push("not everything was folded; run `shardbank recover`, then prune again".to_owned());
    Err(Stop { exit: Exit::Incomplete, lines })
}
