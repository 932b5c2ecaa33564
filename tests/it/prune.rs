//! Prune on real shards: what is folded, what stays, and that a prune that dies leaves no half.

use std::io::{BufRead, BufReader};
use std::num::NonZeroU32;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use shardbank::audit::audit;
use shardbank::fail_points::FailPoint;
use shardbank::locks::backend::Backend;
use shardbank::outcome::{Attempt, Outcome, Rejection};
use shardbank::prune::{PruneSettings, Pruned, prune};
use shardbank::strategies::recovery::recover;
use shardbank::transfer::Transfer;
use shardbank::verbs::locking::LockVerbs;
use shardbank::verbs::{Preparation, Register, Statements, Verbs};

use crate::bank::{self, Bank, OPENING_BALANCE, SHARDS};
use crate::support::executable;

const EVERYTHING: PruneSettings = PruneSettings {
    older_than: Duration::ZERO,
    clock_margin: Duration::ZERO,
    batch: NonZeroU32::new(7).unwrap(),
    dry_run: false,
};

async fn pruned(bank: &Bank, settings: &PruneSettings) -> Pruned {
    let (_context, verbs) = bank.coordinator().await;
    let pruned = prune(&verbs, settings).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(pruned.stopped, None);
    assert_eq!(pruned.unfinished, []);
    verbs.retire().await;
    pruned
}

async fn assert_clean(bank: &Bank) {
    let report = audit(&bank.cluster).await.expect("every shard answers");
    assert!(report.is_conserved(), "{report:?}");
}

/// Thirty transfers of all kinds by a coordinator that ends in order, so that they can be pruned.
/// Returns the first.
async fn thirty_transfers(bank: &Bank) -> Transfer {
    let (_context, verbs) = bank.coordinator().await;
    let mut first = None;
    for n in 0..30 {
        let strategy = ["2pc", "2pc-last-agent", "2pc:log=file"][n as usize % 3];
        let (from, to) = (bank.account(n as u16 % 3, n % 5), bank.account(1, 5 + n % 3));
        let transfer = bank::transfer(from, to, 1 + n);
        let report = bank::strategy(strategy).transfer(&verbs, &transfer, bank::tries(3)).await;
        assert_eq!(report.outcome, Outcome::Committed);
        first.get_or_insert(transfer);
    }
    let refused = bank::transfer(bank.account(0, 0), bank.account(1, 0), OPENING_BALANCE * 2);
    let report = bank::strategy("2pc").transfer(&verbs, &refused, bank::tries(1)).await;
    assert_eq!(report.outcome, Outcome::Rejected(Rejection::InsufficientFunds));
    verbs.drain().await;
    verbs.retire().await;
    first.expect("there was a first")
}

/// Sums over all shards of what the query, of one number, says.
async fn sum(bank: &Bank, query: &str) -> i64 {
    let mut total = 0;
    for shard in 0..SHARDS {
        let row = bank.client(shard).await.query_one(query, &[]).await;
        total += row.expect(query).get::<_, i64>(0);
    }
    total
}

async fn balances(bank: &Bank) -> Vec<(i64, i64)> {
    let mut balances = Vec::new();
    for shard in 0..SHARDS {
        let client = bank.client(shard).await;
        let rows = client.query("select id, balance from shardbank.account order by id", &[]).await;
        balances.extend(rows.expect("read").iter().map(|row| (row.get(0), row.get(1))));
    }
    balances
}

const LEGS: &str = "select count(*) from shardbank.leg where strategy not in ('prune', 'recovery')";
const RECORDS: &str = "select count(*) from shardbank.leg where strategy = 'prune'";
const UNFOLDED: &str = "select count(*) from shardbank.account where balance <> opening_balance";

#[tokio::test(flavor = "multi_thread")]
async fn everything_finished_is_folded_and_no_balance_changes() {
    let bank = Bank::open().await;
    thirty_transfers(&bank).await;
    let before = balances(&bank).await;
    let legs = sum(&bank, LEGS).await;
    assert!(legs > 60, "{legs}");

    let counted = pruned(&bank, &PruneSettings { dry_run: true, ..EVERYTHING }).await;
    assert_eq!((counted.transfers, counted.legs), (31, legs.cast_unsigned()));
    assert_eq!(sum(&bank, LEGS).await, legs, "a dry run changes nothing");

    let folded = pruned(&bank, &EVERYTHING).await;
    let count = |pruned: &Pruned| (pruned.transfers, pruned.legs, pruned.decisions, pruned.bytes);
    assert_eq!(count(&folded), count(&counted));
    assert_eq!((folded.evidence, folded.in_flight, folded.changed), (0, 0, 0));
    assert_eq!(sum(&bank, LEGS).await, 0);
    assert_eq!(sum(&bank, UNFOLDED).await, 0);
    assert_eq!(balances(&bank).await, before);
    assert_clean(&bank).await;

    // The records of its own batches are taken along by the next, down to one.
    assert_eq!(count(&pruned(&bank, &EVERYTHING).await), (0, 0, 0, 0));
    assert!(sum(&bank, RECORDS).await <= i64::from(SHARDS));
    thirty_transfers(&bank).await;
    assert_eq!(pruned(&bank, &EVERYTHING).await.transfers, 31);
    assert_clean(&bank).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pruned_id_is_forgotten_and_moves_the_money_anew() {
    let bank = Bank::open().await;
    let first = thirty_transfers(&bank).await;
    let before = bank.balance(first.source).await;
    let (_context, verbs) = bank.coordinator().await;
    let strategy = bank::strategy("2pc");
    let report = strategy.transfer(&verbs, &bank::again(&first), bank::tries(1)).await;
    assert_eq!(report.outcome, Outcome::Committed);
    assert_eq!(bank.balance(first.source).await, before, "known, so nothing moves");
    verbs.retire().await;
    pruned(&bank, &EVERYTHING).await;
    let (_context, verbs) = bank.coordinator().await;
    let report = strategy.transfer(&verbs, &bank::again(&first), bank::tries(1)).await;
    assert_eq!(report.outcome, Outcome::Committed);
    assert_eq!(bank.balance(first.source).await, before - first.amount.get());
    assert_clean(&bank).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_young_or_of_an_open_coordinator_stays() {
    let bank = Bank::open().await;
    let (_context, open) = bank.coordinator().await;
    thirty_transfers(&bank).await;
    let legs = sum(&bank, LEGS).await;
    let held_back = pruned(&bank, &EVERYTHING).await;
    assert!(held_back.held_back_by.is_some_and(|open| open.name == "test"));
    assert_eq!(held_back.transfers, 0);
    open.retire().await;
    let kept = Duration::from_secs(3_600);
    for settings in [
        PruneSettings { older_than: kept, ..EVERYTHING },
        PruneSettings { clock_margin: kept, ..EVERYTHING },
    ] {
        let kept = pruned(&bank, &settings).await;
        assert_eq!((kept.transfers, kept.held_back_by), (0, None));
    }
    assert_eq!(sum(&bank, LEGS).await, legs);
    assert_eq!(pruned(&bank, &EVERYTHING).await.transfers, 31);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_half_applied_is_evidence_and_never_pruned() {
    let bank = Bank::open().await;
    let first = thirty_transfers(&bank).await;
    let home = bank.cluster.routing().home(&first);
    bank.client(home.0)
        .await
        .batch_execute(&format!(
            "begin; update shardbank.account a set balance = balance - l.amount \
             from shardbank.leg l where l.transfer_id = '{0}' and l.account_id = a.id; \
             delete from shardbank.leg where transfer_id = '{0}'; commit",
            first.id
        ))
        .await
        .expect("meddled");
    for _ in 0..2 {
        let pruned = pruned(&bank, &EVERYTHING).await;
        assert_eq!((pruned.evidence, pruned.evidence_shown), (1, vec![first.id.0]));
    }
    assert_eq!(sum(&bank, LEGS).await, 1);
    assert!(!audit(&bank.cluster).await.expect("answered").is_conserved());
}

/// Runs `shardbank prune` until it reports `point`, then kills it with -9.
fn kill_at(bank: &Bank, point: FailPoint) {
    let mut child = Command::new(executable())
        .args(["prune", "--older-than", "0s", "--clock-margin", "0s", "--fail-at", point.name()])
        .args(bank.urls().iter().flat_map(|url| ["--shard", url.as_str()]))
        .stdout(Stdio::piped())
        .spawn()
        .expect("the executable runs");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("read");
    child.kill().expect("killed");
    child.wait().expect("ended");
    assert_eq!(line.trim_end(), format!("HIT {}", point.name()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prune_that_dies_folds_everything_or_nothing() {
    tokio::join!(
        dies_at(FailPoint::PrunePrepared, false),
        dies_at(FailPoint::PruneDecided, true),
        dies_at(FailPoint::PruneFirstCommitted, true),
    );
}

async fn dies_at(point: FailPoint, folds: bool) {
    let bank = Bank::open().await;
    thirty_transfers(&bank).await;
    let (before, legs) = (balances(&bank).await, sum(&bank, LEGS).await);
    tokio::task::block_in_place(|| kill_at(&bank, point));
    assert!(!prepared(&bank).await.is_empty(), "{point:?}: something is left dangling");
    // While it is in doubt, some shards may have folded and others not.
    assert_clean(&bank).await;
    assert_eq!(balances(&bank).await, before, "{point:?}");

    let (_context, recoverer) = bank.coordinator().await;
    loop {
        let recovered = recover(&recoverer, Duration::ZERO).await;
        assert!(recovered.damage.is_empty(), "{point:?}: {recovered:?}");
        // The dead one's session may take a moment to end.
        if recovered.is_clean() && !recovered.closed_epochs.is_empty() {
            break;
        }
    }
    recoverer.retire().await;
    assert_eq!(prepared(&bank).await, Vec::<String>::new(), "{point:?}");
    assert_clean(&bank).await;
    assert_eq!(balances(&bank).await, before, "{point:?}");
    assert_eq!(sum(&bank, LEGS).await, if folds { 0 } else { legs }, "{point:?}");

    // Nothing of the dead prune is in the way of the next.
    let rest = pruned(&bank, &EVERYTHING).await;
    assert_eq!(rest.transfers, if folds { 0 } else { 31 }, "{point:?}");
    // That the dead one was decided against stays written, in case it was only stalled.
    let aborts = "select count(*) from shardbank.decision where verdict = 'abort'";
    assert_eq!(sum(&bank, aborts).await, i64::from(!folds), "{point:?}");
    assert_eq!(rest.held_back_by, None);
    assert_eq!(sum(&bank, LEGS).await, 0, "{point:?}");
    assert_eq!(balances(&bank).await, before, "{point:?}");
    assert_clean(&bank).await;
}

async fn prepared(bank: &Bank) -> Vec<String> {
    audit(&bank.cluster).await.expect("every shard answers").prepared
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prune_beside_load_audits_and_impatient_recovery_does_no_harm() {
    let bank = Bank::open().await;
    for _ in 0..4 {
        thirty_transfers(&bank).await;
    }
    let (load, is_over, committed) =
        (bank.coordinator().await.1, AtomicBool::new(false), AtomicU64::new(0));
    let transfers = async {
        for n in 0.. {
            if is_over.load(Ordering::Relaxed) {
                break;
            }
            let shard = n as u16 % SHARDS;
            let (from, to) = (bank.account(shard, n % 8), bank.account((shard + 1) % 3, n % 7));
            let name = ["2pc", "2pc-last-agent"][n as usize % 2];
            let transfer = bank::transfer(from, to, 1);
            let report = bank::strategy(name).transfer(&load, &transfer, bank::tries(5)).await;
            committed.fetch_add(u64::from(report.outcome == Outcome::Committed), Ordering::Relaxed);
        }
    };
    let looking = async {
        let (_context, recoverer) = bank.coordinator().await;
        while !is_over.load(Ordering::Relaxed) {
            let recovered = recover(&recoverer, Duration::ZERO).await;
            assert!(recovered.damage.is_empty(), "{recovered:?}");
            assert_clean(&bank).await;
        }
    };
    let folding = async {
        // Every batch is small, so there are many instants at which it is between its shards.
        let settings = PruneSettings { batch: NonZeroU32::new(3).unwrap(), ..EVERYTHING };
        let pruned = pruned(&bank, &settings).await;
        is_over.store(true, Ordering::Relaxed);
        pruned
    };
    let ((), (), folded) = tokio::join!(transfers, looking, folding);
    assert_eq!((folded.transfers, folded.evidence, folded.changed), (4 * 31, 0, 0));
    assert!(committed.load(Ordering::Relaxed) > 0, "the load went on");
    assert_clean(&bank).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_that_wakes_after_the_retention_time_finds_that_it_was_decided_against() {
    let bank = Bank::open().await;
    let transfer = bank::transfer(bank.account(0, 0), bank.account(1, 0), 5);
    let (_context, stalled) = bank.coordinator().await;
    let epoch = stalled.epoch().await.expect("an epoch");
    let [other, home] = transfer.branches(stalled.routing());
    let gid = bank::gid(&stalled, &other, Register::Table).await;
    let how = Preparation {
        strategy: "2pc-last-agent",
        statements: Statements::OneMessage,
        claims_decision: false,
    };
    assert_eq!(stalled.prepare(&other, &gid, how).await, Attempt::Done);

    // It stalls; recovery decides against it and takes it for dead, and the retention time passes.
    let (_context, recoverer) = bank.coordinator().await;
    assert_eq!(recover(&recoverer, Duration::ZERO).await.rolled_back, 1);
    recoverer.close_epoch(epoch).await.expect("closed");
    recoverer.retire().await;
    pruned(&bank, &EVERYTHING).await;

    let participants = transfer.participants(stalled.routing());
    let woken = stalled.apply_and_decide(&home, participants, "2pc-last-agent").await;
    assert_eq!(woken, Attempt::DecisionStands);
    assert_clean(&bank).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_promised_under_locks_is_never_forgotten() {
    let bank = Bank::open().await;
    let (_context, verbs) = bank.coordinator().await;
    let verbs = crate::locks::under_locks(&bank, verbs, &Backend::Lease).await;
    let transfer = bank::transfer(bank.account(0, 0), bank.account(1, 0), 5);
    let report = bank::strategy("lock-lease").transfer(&verbs, &transfer, bank::tries(1)).await;
    assert_eq!(report.outcome, Outcome::Committed);
    verbs.retire().await;
    pruned(&bank, &EVERYTHING).await;
    assert_eq!(bank.legs_of(&transfer).await.len(), 2, "its legs stand");
    // Somebody who saw the intent open, was stalled, and wakes only now.
    let credit = transfer.credit(bank.cluster.routing());
    let late = bank.teller().await.credit_intended(&credit, "recovery").await;
    assert_eq!(late, Attempt::LegStands);
    assert_clean(&bank).await;
}
