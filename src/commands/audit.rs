//! `shardbank audit`: the proof that no money was made or lost.

use super::cluster::{required_shards, runtime};
use super::coordinator::open;
use super::output::print;
use super::{Exit, Stop};
use crate::audit::{AuditReport, audit, audit_at_one_instant};
use crate::cli::operate::AuditArguments;

/// One connection to each shard.
const CONNECTIONS: u32 = 1;

/// Audits.
///
/// # Errors
/// Money was made or lost, or a shard did not answer.
pub fn run(arguments: &AuditArguments) -> Result<(), Stop> {
    let targets = required_shards(&arguments.shards)?;
    let report = runtime()?.block_on(async {
        let cluster = open(targets, 0, CONNECTIONS).await?;
        let audited = if arguments.locking {
            audit_at_one_instant(&cluster).await
        } else {
            audit(&cluster).await
        };
        audited.map_err(|error| Stop::new(Exit::Failed, error.to_string()))
    })?;
    if arguments.json {
        let json = serde_json::to_string_pretty(&report).expect("a report is plain data");
        print(&json)?;
    } else {
        print(&in_words(&report))?;
    }
    if !report.is_conserved() {
        let mut lines: Vec<String> = report.violations.iter().map(ToString::to_string).collect();
        lines.push(format!("{} violation(s): money was made or lost", report.violation_count));
        return Err(Stop { exit: Exit::InvariantBroken, lines });
    }
    if arguments.at_rest && (!report.prepared.is_empty() || report.open_promises > 0) {
        let mut lines = report.prepared;
        if !lines.is_empty() {
            lines.push("these are still prepared; run recover".to_owned());
        }
        if report.open_promises > 0 {
            lines.push(format!(
                "{} transfer(s) under locks, saga(s) or reservation(s) have not ended; run recover",
                report.open_promises
            ));
        }
        return Err(Stop { exit: Exit::Incomplete, lines });
    }
    Ok(())
}

fn in_words(report: &AuditReport) -> String {
    let mut lines = Vec::new();
    for shard in &report.shards {
        lines.push(format!(
            "shard {}: {} accounts, balances {}, opening balances {}",
            shard.shard, shard.accounts, shard.balance_total, shard.opening_total
        ));
    }
    let balances: i128 = report.shards.iter().map(|shard| shard.balance_total).sum();
    let openings: i128 = report.shards.iter().map(|shard| shard.opening_total).sum();
    lines.push(format!("all: balances {balances}, opening balances {openings}"));
    lines.push(format!(
        "{} transfer(s) were between their two effects at the snapshots, {} branch(es) prepared, {} \
         intent(s), saga(s), event(s) or hold(s) open",
        report.half_visible,
        report.prepared.len(),
        report.open_promises
    ));
    if let Some(in_flight) = report.in_flight {
        lines.push(format!("at that one instant: money in flight: {in_flight}"));
    }
    let verdict = if report.is_conserved() {
        "no money was made or lost: every balance is explained, every transfer whole"
    } else {
        "NOT CONSERVED"
    };
    lines.push(format!("{verdict} ({} ms)", report.elapsed_ms));
    lines.join("\n")
}
