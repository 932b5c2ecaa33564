//! The proof, from the shards alone, that no money was made or lost.
//!
//! The audit knows nothing of strategies or of what a benchmark believes to have done. It proves:
//!
//! - **explained**: on every shard, in one snapshot, each balance is its opening balance plus its
//!   applied legs, and none is negative. True at any moment, under any load.
//! - **conserved**: the opening balances add up to what `init` put in and what `prune` has folded
//!   into them since, by its own records; over all shards, a batch of it comes to nothing.
//! - **all or nothing**: over all shards, the applied legs of every transfer cancel out. While
//!   transfers run some are half-visible, so what does not cancel out is looked at again: it is a
//!   violation only if it is still half when none of its branches is prepared any more, no intent,
//!   saga, event or hold of it is open, and no batch of `prune` is prepared, which may be folding it shard after
//!   shard.
//! - **decided**: no decision is contradicted by the legs beside it.
//!
//! With the first and the third, the total of all balances is explained to the last unit.
//! Totals read from shard after shard prove nothing while money moves, and are not used. Where
//! they are wanted all the same, the shards are made to stand still for an instant: `standstill.rs`.

mod decided;
mod standstill;

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::future::try_join_all;
use serde::Serialize;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::ledger::books::{self, Accounts};
use crate::outcome::ShardError;
use crate::shards::cluster::Cluster;
use crate::shards::failure::describe;
use crate::transfer::ShardIndex;
use crate::verbs::Gid;

/// Connecting takes no longer than this.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a half-visible transfer may take to become whole before its shards' word is final.
const SETTLING: Duration = Duration::from_secs(3);
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// How many offending rows of a kind are printed.
const SHOWN: usize = 20;

/// What one shard holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ShardBooks {
    /// Which shard.
    pub shard: ShardIndex,
    /// How many accounts.
    pub accounts: i64,
    /// The sum of balances, in minor units.
    pub balance_total: i128,
    /// The sum of opening balances, in minor units.
    pub opening_total: i128,
}

/// Something that must never be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Violation {
    /// Balances that the ledger does not explain, negative ones, or legs of accounts that do not
    /// exist.
    #[error("shard {shard}: {count} account(s) do not add up; {}", offending.join("; "))]
    Accounts {
        /// Where.
        shard: ShardIndex,
        /// How many.
        count: i64,
        /// Some of them.
        offending: Vec<String>,
    },
    /// A transfer of which one effect is there and the other is not.
    #[error("transfer {transfer} is half applied: its legs come to {change} instead of 0")]
    HalfApplied {
        /// Which.
        transfer: Uuid,
        /// What its applied legs come to, over all shards, in minor units.
        change: i128,
    },
    /// A decision that the legs beside it contradict.
    #[error(
        "shard {shard}: transfer {transfer} is decided {verdict:?}, and its leg there says otherwise"
    )]
    Contradicted {
        /// The home shard.
        shard: ShardIndex,
        /// Which transfer.
        transfer: Uuid,
        /// What was decided.
        verdict: String,
    },
    /// The opening balances no longer add up to what `init` put in.
    #[error("opening balances add up to {now} and not to the {at_init} that init put in")]
    NotConserved {
        /// Their sum now, without what `prune` has on record.
        now: i128,
        /// Their sum at `init`.
        at_init: i128,
    },
}

/// What the audit found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditReport {
    /// What each shard holds.
    pub shards: Vec<ShardBooks>,
    /// Transfers between their two effects at the instant of the snapshots.
    pub half_visible: u64,
    /// What was on no account at that instant, where it was one for all shards: what all accounts
    /// together lack of their opening balances, in minor units.
    pub in_flight: Option<i128>,
    /// Prepared branches of this cluster at the end, by name.
    pub prepared: Vec<String>,
    /// Transfers under locks, sagas of both kinds and reservations that have not ended at the end.
    pub open_promises: u64,
    /// What must never be. Not more than twenty of a kind are kept.
    pub violations: Vec<Violation>,
    /// How many there are.
    pub violation_count: u64,
    /// How long it took, in milliseconds.
    pub elapsed_ms: u64,
}

impl AuditReport {
    /// Whether no money was made or lost.
    #[must_use]
    pub const fn is_conserved(&self) -> bool {
        self.violation_count == 0
    }

    fn add(&mut self, violation: Violation) {
        self.violation_count += 1;
        let kind = std::mem::discriminant(&violation);
        let shown = self.violations.iter().filter(|v| std::mem::discriminant(*v) == kind).count();
        if shown < SHOWN {
            self.violations.push(violation);
        }
    }
}

/// How the books of several shards are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// Each in a snapshot of its own, and nobody is held up.
    Beside,
    /// All at one instant, for which every writer is held off.
    AtOneInstant,
}

/// Audits `cluster`, also while transfers run.
///
/// # Errors
/// A shard did not answer: nothing is proved.
pub async fn audit(cluster: &Cluster) -> Result<AuditReport, ShardError> {
    audit_by(cluster, Reading::Beside).await
}

/// Audits `cluster` as of one instant, for which every writer is held off, and says what was on no
/// account then.
///
/// # Errors
/// A shard did not answer, or a writer would not end: nothing is proved.
pub async fn audit_at_one_instant(cluster: &Cluster) -> Result<AuditReport, ShardError> {
    audit_by(cluster, Reading::AtOneInstant).await
}

async fn audit_by(cluster: &Cluster, reading: Reading) -> Result<AuditReport, ShardError> {
    let started = Instant::now();
    let mut clients = cluster.connect_all(PATIENCE).await?;
    let mut report = AuditReport {
        shards: Vec::new(),
        half_visible: 0,
        in_flight: None,
        prepared: Vec::new(),
        open_promises: 0,
        violations: Vec::new(),
        violation_count: 0,
        elapsed_ms: 0,
    };

    let half = read_snapshots(cluster, reading, &mut clients, &mut report).await?;
    report.half_visible = half.len() as u64;
    if reading == Reading::AtOneInstant {
        let of = |total: fn(&ShardBooks) -> i128| report.shards.iter().map(total).sum::<i128>();
        report.in_flight = Some(of(|shard| shard.opening_total) - of(|shard| shard.balance_total));
    }
    for (transfer, change) in settle(cluster, &clients, half).await? {
        report.add(Violation::HalfApplied { transfer, change });
    }
    for (shard, transfer, verdict) in decided::contradicted(cluster, &clients).await? {
        report.add(Violation::Contradicted { shard, transfer, verdict });
    }
    for names in all_prepared(cluster, &clients).await? {
        report.prepared.extend(names);
    }
    report.prepared.sort_unstable();
    report.open_promises = open_promises(cluster, &clients).await?.len() as u64;
    report.elapsed_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(report)
}

/// Checks accounts and totals, and returns the transfers whose legs do not cancel out over the
/// snapshots of all shards.
async fn read_snapshots(
    cluster: &Cluster,
    reading: Reading,
    clients: &mut [Client],
    report: &mut AuditReport,
) -> Result<HashMap<Uuid, i128>, ShardError> {
    let shards: Vec<ShardIndex> = cluster.routing().shards().collect();
    let held_off = match reading {
        Reading::Beside => None,
        Reading::AtOneInstant => Some(standstill::hold_off_writers(cluster).await?),
    };
    let snapshots = try_join_all(clients.iter_mut().zip(&shards).map(async |(client, shard)| {
        books::snapshot(client).await.map_err(|error| describe(*shard, &error))
    }))
    .await?;
    // Every snapshot is taken: whatever is written from here on is in none of them.
    drop(held_off);
    let read = try_join_all(snapshots.iter().zip(&shards).map(async |(snapshot, shard)| {
        let describe = |error: tokio_postgres::Error| describe(*shard, &error);
        let accounts = books::accounts(snapshot).await.map_err(describe)?;
        let at_init = books::opening_total_at_init(snapshot).await.map_err(describe)?;
        Ok::<_, ShardError>((accounts, at_init))
    }))
    .await?;
    let (mut at_init, mut now) = (0, 0);
    for ((accounts, opening_total), shard) in read.into_iter().zip(&shards) {
        at_init += opening_total;
        // Within one snapshot a batch of prune and its record are both there or both not, so
        // this holds also where the snapshots see some shards before it and some after.
        now += accounts.opening_total - accounts.folded;
        add_accounts(report, *shard, accounts);
    }
    if now != at_init {
        report.add(Violation::NotConserved { now, at_init });
    }

    let mut streams = Vec::new();
    for (snapshot, shard) in snapshots.iter().zip(&shards) {
        let stream = books::open_transfers(snapshot).await;
        streams.push(Box::pin(stream.map_err(|error| describe(*shard, &error))?));
    }
    // All shards list in the order of ids, so the smallest head is complete once every head with
    // the same id has been taken: memory holds one row a shard, however many transfers there are.
    let mut heads: Vec<Option<(Uuid, i64)>> = vec![None; streams.len()];
    for i in 0..streams.len() {
        heads[i] = next(&mut streams[i], shards[i]).await?;
    }
    let mut half = HashMap::new();
    while let Some(id) = heads.iter().flatten().map(|(id, _)| *id).min() {
        let mut change = 0_i128;
        for i in 0..streams.len() {
            if let Some((_, here)) = heads[i].filter(|(head, _)| *head == id) {
                change += i128::from(here);
                heads[i] = next(&mut streams[i], shards[i]).await?;
            }
        }
        if change != 0 {
            half.insert(id, change);
        }
    }
    Ok(half)
}

async fn next<S>(stream: &mut S, shard: ShardIndex) -> Result<Option<(Uuid, i64)>, ShardError>
where
    S: futures_util::Stream<Item = Result<(Uuid, i64), tokio_postgres::Error>> + Unpin,
{
    stream.next().await.transpose().map_err(|error| describe(shard, &error))
}

fn add_accounts(report: &mut AuditReport, shard: ShardIndex, accounts: Accounts) {
    let count = accounts.missing + accounts.unexplained + accounts.negative;
    if count > 0 {
        report.add(Violation::Accounts { shard, count, offending: accounts.offending });
    }
    report.shards.push(ShardBooks {
        shard,
        accounts: accounts.accounts,
        balance_total: accounts.balance_total,
        opening_total: accounts.opening_total,
    });
}

/// Looks again at transfers that were half-visible, until each is whole, or is still half while
/// one of its branches, or a batch of prune, is prepared (in doubt, and no violation yet), or is
/// neither: those are returned.
async fn settle(
    cluster: &Cluster,
    clients: &[Client],
    mut half: HashMap<Uuid, i128>,
) -> Result<Vec<(Uuid, i128)>, ShardError> {
    let deadline = Instant::now() + SETTLING;
    let mut violations = Vec::new();
    while !half.is_empty() {
        // First what is prepared, then the legs: a branch that is neither prepared now nor
        // applied afterwards is nowhere. (Applied on one shard means that all had prepared.)
        let first_look = legs_of(cluster, clients, half.keys().copied().collect()).await?;
        let prepared: HashSet<Uuid> = all_prepared(cluster, clients)
            .await?
            .iter()
            .flatten()
            .filter_map(|name| name.parse::<Gid>().ok())
            .map(|gid| gid.transfer.0)
            .collect();
        let folding = is_folding(cluster, clients, &prepared).await?;
        // An intent, a saga or an event is there as soon as its debit, and open for as long as its
        // credit is not; a hold is open until its effect is there.
        let promised = open_promises(cluster, clients).await?;
        let second_look = legs_of(cluster, clients, half.keys().copied().collect()).await?;
        half.retain(|id, change| {
            *change = second_look.get(id).copied().unwrap_or(0);
            if *change == 0 {
                return false;
            }
            let still_half = first_look.get(id) == second_look.get(id);
            if still_half && !prepared.contains(id) && !promised.contains(id) && !folding {
                violations.push((*id, *change));
                return false;
            }
            true
        });
        if Instant::now() >= deadline {
            break;
        }
        if !half.is_empty() {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
    violations.sort_unstable();
    Ok(violations)
}

/// The transfers of which an intent, a saga, an event or a hold is open.
async fn open_promises(cluster: &Cluster, clients: &[Client]) -> Result<HashSet<Uuid>, ShardError> {
    let on_shards = clients.iter().zip(cluster.routing().shards()).map(async |(client, shard)| {
        books::open_promises(client).await.map_err(|error| describe(shard, &error))
    });
    Ok(try_join_all(on_shards).await?.into_iter().flatten().collect())
}

async fn legs_of(
    cluster: &Cluster,
    clients: &[Client],
    transfers: Vec<Uuid>,
) -> Result<HashMap<Uuid, i128>, ShardError> {
    let transfers = &transfers;
    let on_shards = clients.iter().zip(cluster.routing().shards()).map(async |(client, shard)| {
        books::change_of(client, transfers).await.map_err(|error| describe(shard, &error))
    });
    let mut changes = HashMap::new();
    for (id, change) in try_join_all(on_shards).await?.into_iter().flatten() {
        *changes.entry(id).or_insert(0) += i128::from(change);
    }
    Ok(changes)
}

/// Whether one of the transfers that are `prepared` somewhere is a batch of prune that another
/// shard has carried out: what it folds is gone there and still here. A leg that it has taken away
/// before a look is on its record by the time of this one.
async fn is_folding(
    cluster: &Cluster,
    clients: &[Client],
    prepared: &HashSet<Uuid>,
) -> Result<bool, ShardError> {
    if prepared.is_empty() {
        return Ok(false);
    }
    let prepared: &Vec<Uuid> = &prepared.iter().copied().collect();
    let on_shards = clients.iter().zip(cluster.routing().shards()).map(async |(client, shard)| {
        books::has_batch_among(client, prepared).await.map_err(|error| describe(shard, &error))
    });
    Ok(try_join_all(on_shards).await?.contains(&true))
}

async fn all_prepared(
    cluster: &Cluster,
    clients: &[Client],
) -> Result<Vec<HashSet<String>>, ShardError> {
    let prefix = Gid::prefix_of(cluster.id());
    let prefix = &prefix;
    let on_shards = clients.iter().zip(cluster.routing().shards()).map(async |(client, shard)| {
        books::prepared(client, prefix).await.map_err(|error| describe(shard, &error))
    });
    try_join_all(on_shards).await
}
