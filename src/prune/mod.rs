//! Prune: old finished transfers are folded into the opening balances, and their rows go.
//!
//! The rule it keeps: at every instant, on every shard, a balance is its opening balance plus its
//! legs, and over all shards nothing is folded by halves. A transfer goes only if everything of it
//! on every shard is older than the cut-off and its applied legs cancel out. The cut-off is the
//! retention time ago, or the beginning of the oldest coordinator that is not closed if that is
//! earlier: whoever might still act on a row finds it. From it is taken a margin, because shards'
//! clocks differ. What is half applied, or contradicted by its decision, is evidence and stays.
//!
//! What a register decided against stays too, a row or two each: a coordinator that stalls longer
//! than any retention time must still meet that decision when it wakes.
//!
//! A transfer by events is as young as the end of its last event, and goes with its events: a relay
//! that took one of them, and stalls, has an open coordinator.
//!
//! A transfer that is pruned is forgotten: its id, used again, is a new transfer's. So the
//! retention time is how long a caller may repeat a call.
//!
//! Runs beside live load: a batch holds the rows of its accounts for as long as a transfer holds
//! its two, and leaves the shards to others for as long again.

pub mod batch;
pub mod finished;

use std::collections::HashSet;
use std::num::NonZeroU32;
use std::time::{Duration, Instant, SystemTime};

use futures_util::future::try_join_all;
use uuid::Uuid;

use crate::ledger::folding::{self, OpenEpoch};
use crate::ledger::postgres::PostgresVerbs;
use crate::outcome::ShardError;
use crate::prune::batch::Ended;
use crate::prune::finished::{Everywhere, Judgement, judge, merge};
use crate::transfer::ShardIndex;
use crate::verbs::Verbs;

/// How many transfers are read from a shard at a time.
const PAGE: usize = 2_000;
/// How often a batch is tried that meets locks.
const TRIES: u32 = 20;
/// The longest pause after a batch.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// How many half-applied or contradicted transfers are listed.
const SHOWN: usize = 20;

/// What to prune, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PruneSettings {
    /// How long transfers are kept.
    pub older_than: Duration,
    /// By how much shards' clocks may differ.
    pub clock_margin: Duration,
    /// How many transfers are folded at a time.
    pub batch: NonZeroU32,
    /// Whether to count only.
    pub dry_run: bool,
}

/// What was folded, or would be, and what was left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pruned {
    /// What is from then or later was not touched.
    pub cutoff: SystemTime,
    /// The coordinator because of which the cut-off is earlier than was asked for.
    pub held_back_by: Option<OpenEpoch>,
    /// Transfers folded.
    pub transfers: u64,
    /// Their legs.
    pub legs: u64,
    /// Their decisions.
    pub decisions: u64,
    /// What those rows took, in bytes, without their index entries.
    pub bytes: u64,
    /// Transfers left because a branch is prepared.
    pub in_flight: u64,
    /// Transfers left because a shard's answer changed meanwhile; the next prune sees them.
    pub changed: u64,
    /// Transfers left as evidence.
    pub evidence: u64,
    /// Twenty of those at the most.
    pub evidence_shown: Vec<Uuid>,
    /// Decided parts of batches that recovery must finish.
    pub unfinished: Vec<ShardError>,
    /// What ended the work early.
    pub stopped: Option<ShardError>,
}

/// Why nothing was begun.
#[derive(Debug, thiserror::Error)]
pub enum PruneError {
    /// Another one works on the same cluster. Two would do no harm, but each would take what the
    /// other is about to fold for half applied.
    #[error("another prune is at work on this cluster; prune again once it has ended")]
    NotAlone,
    /// Shards' clocks differ by more than was allowed for.
    #[error(
        "shard {shard}'s clock is {apart:.1?} away from shard 0's, and {margin:.1?} are allowed \
         for; set the clocks, or raise --clock-margin"
    )]
    Clocks {
        /// Which.
        shard: ShardIndex,
        /// How far, at least.
        apart: Duration,
        /// What was allowed for.
        margin: Duration,
    },
    /// A shard did not answer.
    #[error(transparent)]
    Shard(#[from] ShardError),
}

/// Prunes.
///
/// # Errors
/// Nothing was begun. What goes wrong later stands in the answer.
pub async fn prune(verbs: &PostgresVerbs, settings: &PruneSettings) -> Result<Pruned, PruneError> {
    let _alone = folding::alone(verbs).await?.ok_or(PruneError::NotAlone)?;
    check_clocks(verbs, settings.clock_margin).await?;
    let (cutoff, held_back_by) = cutoff(verbs, settings).await?;
    let mut pruned = Pruned {
        cutoff,
        held_back_by,
        transfers: 0,
        legs: 0,
        decisions: 0,
        bytes: 0,
        in_flight: 0,
        changed: 0,
        evidence: 0,
        evidence_shown: Vec::new(),
        unfinished: Vec::new(),
        stopped: None,
    };
    if let Err(error) = walk(verbs, settings, &mut pruned).await {
        pruned.stopped = Some(error);
    }
    Ok(pruned)
}

async fn check_clocks(verbs: &PostgresVerbs, margin: Duration) -> Result<(), PruneError> {
    let clocks = verbs.routing().shards().map(|shard| folding::clock(verbs, shard));
    let clocks = try_join_all(clocks).await?;
    let first = clocks[0];
    for (shard, clock) in verbs.routing().shards().zip(&clocks) {
        let apart = Duration::from_micros(clock.ahead_us.abs_diff(first.ahead_us));
        let apart = apart.saturating_sub(clock.uncertainty + first.uncertainty);
        if apart > margin {
            return Err(PruneError::Clocks { shard, apart, margin });
        }
    }
    Ok(())
}

async fn cutoff(
    verbs: &PostgresVerbs,
    settings: &PruneSettings,
) -> Result<(SystemTime, Option<OpenEpoch>), PruneError> {
    let (now, oldest) = folding::now_and_oldest_other(verbs).await?;
    let back = |instant: SystemTime, by: Duration| {
        instant.checked_sub(by).unwrap_or(SystemTime::UNIX_EPOCH).max(SystemTime::UNIX_EPOCH)
    };
    let wanted = back(now, settings.older_than);
    let held_back_by = oldest.filter(|oldest| oldest.started_at < wanted);
    let instant = held_back_by.as_ref().map_or(wanted, |oldest| oldest.started_at);
    Ok((back(instant, settings.clock_margin), held_back_by))
}

/// Walks over all transfers in the order of ids and folds the finished ones, batch by batch.
async fn walk(
    verbs: &PostgresVerbs,
    settings: &PruneSettings,
    pruned: &mut Pruned,
) -> Result<(), ShardError> {
    let batch = usize::try_from(settings.batch.get()).unwrap_or(usize::MAX);
    let mut finished: Vec<(Uuid, Everywhere)> = Vec::new();
    let mut after = Some(Uuid::nil());
    while let Some(last) = after {
        // First what is prepared, then what stands: a branch that is neither prepared now nor
        // applied afterwards is nowhere.
        let prepared = prepared(verbs).await?;
        let pages = verbs.routing().shards().map(async |shard| {
            let limit = i64::try_from(PAGE).expect("a small number");
            folding::standing(verbs, shard, pruned.cutoff, last, limit)
                .await
                .map(|page| (shard, page))
        });
        let (merged, next) = merge(try_join_all(pages).await?, PAGE);
        for (transfer, everywhere) in merged {
            match judge(transfer, &everywhere, &prepared) {
                Judgement::Finished => finished.push((transfer, everywhere)),
                Judgement::Young | Judgement::DecidedAgainst => {}
                Judgement::InFlight => pruned.in_flight += 1,
                Judgement::Evidence => {
                    pruned.evidence += 1;
                    if pruned.evidence_shown.len() < SHOWN {
                        pruned.evidence_shown.push(transfer);
                    }
                }
            }
        }
        while finished.len() >= batch {
            let rest = finished.split_off(batch);
            fold(verbs, settings, &finished, pruned).await?;
            finished = rest;
        }
        after = next;
    }
    // The record of one earlier batch, alone, would only be replaced by its like.
    let is_nothing = |one: &(Uuid, Everywhere)| one.1.iter().any(|(_, standing)| standing.is_batch);
    if finished.is_empty() || (finished.len() == 1 && is_nothing(&finished[0])) {
        return Ok(());
    }
    fold(verbs, settings, &finished, pruned).await
}

async fn prepared(verbs: &PostgresVerbs) -> Result<HashSet<Uuid>, ShardError> {
    let shards = verbs.routing().shards().map(|shard| verbs.list_prepared(shard));
    let branches = try_join_all(shards).await?;
    Ok(branches.into_iter().flatten().map(|branch| branch.gid.transfer.0).collect())
}

/// Folds one batch, and counts it where it is folded or would be.
async fn fold(
    verbs: &PostgresVerbs,
    settings: &PruneSettings,
    transfers: &[(Uuid, Everywhere)],
    pruned: &mut Pruned,
) -> Result<(), ShardError> {
    if !settings.dry_run && !try_to_fold(verbs, transfers, pruned).await? {
        pruned.changed += transfers.len() as u64;
        return Ok(());
    }
    for (_, everywhere) in transfers {
        let here = || everywhere.iter().map(|(_, standing)| standing);
        if here().any(|standing| standing.is_batch) {
            continue;
        }
        let count = |of: fn(&folding::Standing) -> i64| here().map(of).sum::<i64>().cast_unsigned();
        pruned.transfers += u64::from(here().any(|standing| standing.legs > 0));
        pruned.legs += count(|standing| standing.legs);
        pruned.decisions += count(|standing| standing.decisions);
        pruned.bytes += count(|standing| standing.bytes);
    }
    Ok(())
}

/// Tries until the batch is folded. False where what stands has changed since it was read.
async fn try_to_fold(
    verbs: &PostgresVerbs,
    transfers: &[(Uuid, Everywhere)],
    pruned: &mut Pruned,
) -> Result<bool, ShardError> {
    let mut tries = 1;
    loop {
        let began = Instant::now();
        let ended = batch::fold(verbs, transfers, pruned.cutoff).await?;
        tokio::time::sleep(began.elapsed().min(LONGEST_PAUSE)).await;
        match ended {
            Ended::Folded(left) => {
                pruned.unfinished.extend(left);
                return Ok(true);
            }
            Ended::Changed => return Ok(false),
            Ended::Again(error) if tries >= TRIES => return Err(error),
            Ended::Again(_) => {
                tries += 1;
                verbs.back_off(tries).await;
            }
        }
    }
}
