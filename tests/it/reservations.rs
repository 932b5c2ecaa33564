//! Reservations on real shards: steps that come twice or in the wrong order, expiry against
//! confirmation, sweepers side by side, and what a hold keeps others from doing.

use std::time::Duration;

use futures_util::future::join_all;
use futures_util::join;
use shardbank::ledger::postgres::PostgresVerbs;
use shardbank::outcome::{
    AbortReason, Attempt, Decision, LegOutcome, Outcome, Refusal, Rejection, Tombstone,
};
use shardbank::strategies::recovery::recover;
use shardbank::transfer::{Branch, Participants, Transfer};
use shardbank::verbs::holding::HoldVerbs;
use shardbank::verbs::{DecisionKey, Verbs};

use crate::bank::{self, Bank, OPENING_BALANCE};
use crate::doomed::{run, said};

const RESERVATION: &str = "reservation";
const LONG: Duration = Duration::from_secs(3600);
const NOT_WANTED: Refusal = Refusal::Aborted(AbortReason::Forced);

/// The branch's hold and leg, and what its account holds in all.
async fn standing(bank: &Bank, branch: &Branch) -> (Option<String>, Option<String>, i64) {
    let client = bank.client(branch.shard.0).await;
    let row = client
        .query_one(
            "select (select state from shardbank.hold where transfer_id = $1 and kind = $2), \
                    (select outcome from shardbank.leg where transfer_id = $1 and kind = $2), \
                    held from shardbank.account where id = $3",
            &[&branch.transfer.id.0, &branch.kind.name(), &branch.account().get()],
        )
        .await
        .expect("read");
    (row.get(0), row.get(1), row.get(2))
}

async fn key(verbs: &PostgresVerbs, transfer: &Transfer) -> DecisionKey {
    let epoch = verbs.epoch().await.expect("an epoch");
    DecisionKey::in_table(verbs.routing(), epoch, transfer)
}

fn participants(verbs: &PostgresVerbs, transfer: &Transfer) -> Option<Participants> {
    Some(transfer.participants(verbs.routing()))
}

fn is(hold: &str, leg: &str, held: i64) -> (Option<String>, Option<String>, i64) {
    (Some(hold.to_owned()), Some(leg.to_owned()), held)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_step_of_a_reservation_that_comes_twice_runs_once() {
    let bank = Bank::open().await;
    let (_context, verbs) = bank.coordinator().await;
    let transfer = bank::transfer(bank.account(0, 0), bank.account(1, 0), 5);
    let branches = transfer.branches(verbs.routing());
    for branch in &branches {
        assert_eq!(verbs.reserve(branch, LONG, RESERVATION).await, Attempt::Done);
        assert_eq!(verbs.reserve(branch, LONG, RESERVATION).await, Attempt::LegStands);
    }
    assert_eq!(standing(&bank, &branches[0]).await, is("held", "held", 5));
    assert_eq!(standing(&bank, &branches[1]).await, is("held", "held", 0));
    assert_eq!(bank.balance(transfer.source).await, OPENING_BALANCE, "nothing has moved");

    let key = key(&verbs, &transfer).await;
    let decided = verbs.decide(&key, participants(&verbs, &transfer), Decision::Commit).await;
    assert_eq!(decided, Ok(Decision::Commit));
    for branch in &branches {
        for _ in 0..2 {
            assert_eq!(verbs.confirm(branch).await, Attempt::Done);
            assert_eq!(standing(&bank, branch).await, is("confirmed", "applied", 0));
        }
        // A cancel that comes after the confirmation is told what stands.
        let late = verbs.cancel(branch, NOT_WANTED, RESERVATION).await.expect("answered");
        assert!(matches!(late, Tombstone::Stands(leg) if leg.outcome == LegOutcome::Applied));
    }
    assert_eq!(bank.balance(transfer.source).await, OPENING_BALANCE - 5);
    assert_eq!(bank.balance(transfer.target).await, OPENING_BALANCE + 5);
    assert_eq!(run(&bank, &["audit", "--at-rest"]).await.status.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_comes_after_its_cancellation_never_runs() {
    let bank = Bank::open().await;
    let (_context, verbs) = bank.coordinator().await;
    let transfer = bank::transfer(bank.account(0, 0), bank.account(1, 0), 5);
    let [other, home] = transfer.branches(verbs.routing());
    let decided = verbs.decide_abort(&key(&verbs, &transfer).await, NOT_WANTED).await;
    assert_eq!(decided, Ok(Decision::Abort(NOT_WANTED)));

    // It was held before the cancel: what is held is free again, and a confirmation is refused.
    assert_eq!(verbs.reserve(&other, LONG, RESERVATION).await, Attempt::Done);
    assert_eq!(verbs.cancel(&other, NOT_WANTED, RESERVATION).await, Ok(Tombstone::Placed));
    assert_eq!(standing(&bank, &other).await, is("cancelled", "rejected", 0));
    let Attempt::Failed(error) = verbs.confirm(&other).await else { panic!("it is cancelled") };
    assert_eq!(error.sqlstate.as_deref(), Some("SB005"), "{error}");

    // The cancel came first: the hold never comes to be.
    let none = verbs.confirm(&home).await;
    assert!(matches!(&none, Attempt::Failed(error) if error.sqlstate.as_deref() == Some("SB007")));
    assert_eq!(verbs.cancel(&home, NOT_WANTED, RESERVATION).await, Ok(Tombstone::Placed));
    assert_eq!(verbs.reserve(&home, LONG, RESERVATION).await, Attempt::LegStands);
    assert_eq!(standing(&bank, &home).await, (None, Some("rejected".to_owned()), 0));

    for branch in [other, home] {
        let again = verbs.cancel(&branch, NOT_WANTED, RESERVATION).await.expect("answered");
        assert!(matches!(again, Tombstone::Stands(_)), "{again:?}");
    }
    assert_eq!(bank.legs_of(&transfer).await, vec![]);
    assert_eq!(run(&bank, &["audit", "--at-rest"]).await.status.code(), Some(0));
}

/// How many transfers race against their expiry.
fn races() -> usize {
    std::env::var("SHARDBANK_RACES").map_or(50, |races| races.parse().expect("a number"))
}

#[tokio::test(flavor = "multi_thread")]
async fn expiry_and_confirmation_at_the_same_instant_agree_on_both_accounts() {
    let bank = Bank::open().await;
    let (_context, verbs) = bank.coordinator().await;
    let (_other, sweeper) = bank.coordinator().await;
    let (mut committed, mut expired) = (0, 0);
    for race in 0..races() {
        let n = i64::try_from(race % 20).expect("few");
        let transfer = bank::transfer(bank.account(0, n), bank.account(1, n), 1);
        let branches = transfer.branches(verbs.routing());
        for branch in &branches {
            let brief = Duration::from_millis(1);
            assert_eq!(verbs.reserve(branch, brief, RESERVATION).await, Attempt::Done);
        }
        // Both are expired or about to be; the coordinator does not know.
        let key = key(&verbs, &transfer).await;
        let coordinator = async {
            let decided =
                verbs.decide(&key, participants(&verbs, &transfer), Decision::Commit).await;
            if decided == Ok(Decision::Commit) {
                for branch in &branches {
                    assert_eq!(verbs.confirm(branch).await, Attempt::Done, "race {race}");
                }
            }
            decided.expect("home answers")
        };
        // The sweeper takes only what has expired: its coordinator is alive.
        let (decided, _) = join!(coordinator, recover(&sweeper, LONG));
        while recover(&sweeper, LONG).await.in_flight > 0 {}
        let legs = bank.legs_of(&transfer).await;
        if decided == Decision::Commit {
            committed += 1;
            assert_eq!(legs, [("credit".to_owned(), 1), ("debit".to_owned(), -1)], "race {race}");
        } else {
            expired += 1;
            assert_eq!(decided, Decision::Abort(Refusal::Aborted(AbortReason::Expired)));
            assert_eq!(legs, vec![], "race {race}");
        }
        for branch in &branches {
            let (state, _, held) = standing(&bank, branch).await;
            assert_ne!(state.as_deref(), Some("held"), "race {race}");
            assert_eq!(held, 0, "race {race}");
        }
    }
    println!("{} races: {committed} confirmed, {expired} expired", races());
    assert_eq!(run(&bank, &["audit", "--at-rest"]).await.status.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn sweepers_side_by_side_end_every_hold_by_its_decision() {
    let bank = Bank::open().await;
    let (context, verbs) = bank.coordinator().await;
    let mut left = Vec::new();
    for n in 0..20 {
        let transfer = bank::transfer(bank.account(1, n), bank.account(0, n), 5);
        let branches = transfer.branches(verbs.routing());
        for branch in &branches {
            assert_eq!(verbs.reserve(branch, LONG, RESERVATION).await, Attempt::Done);
        }
        if n % 2 == 0 {
            let key = key(&verbs, &transfer).await;
            verbs
                .decide(&key, participants(&verbs, &transfer), Decision::Commit)
                .await
                .expect("decided");
        }
        left.push(transfer);
    }
    drop((context, verbs));
    let (_first, one) = bank.coordinator().await;
    let (_second, two) = bank.coordinator().await;
    loop {
        let passes = join_all([&one, &two].map(|verbs| recover(verbs, LONG))).await;
        if passes.iter().all(|pass| pass.in_flight == 0 && pass.is_clean()) {
            break;
        }
    }
    for (n, transfer) in left.iter().enumerate() {
        let both = vec![("credit".to_owned(), 5), ("debit".to_owned(), -5)];
        let legs = if n % 2 == 0 { both } else { vec![] };
        assert_eq!(bank.legs_of(transfer).await, legs);
    }
    assert_eq!(run(&bank, &["audit", "--at-rest"]).await.status.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_is_nobody_elses_to_spend_and_its_target_stays_open() {
    let bank = Bank::open().await;
    let (_context, verbs) = bank.coordinator().await;
    let transfer = bank::transfer(bank.account(0, 0), bank.account(1, 0), OPENING_BALANCE);
    for branch in transfer.branches(verbs.routing()) {
        assert_eq!(verbs.reserve(&branch, LONG, RESERVATION).await, Attempt::Done);
    }
    for strategy in ["2pc", "2pc-last-agent", "saga", RESERVATION] {
        let other = bank::transfer(transfer.source, bank.account(1, 1), 1);
        let report = bank::strategy(strategy).transfer(&verbs, &other, bank::tries(1)).await;
        let no = Outcome::Rejected(Rejection::InsufficientFunds);
        assert_eq!(report.outcome, no, "{strategy}");
    }
    let close =
        format!("update shardbank.account set closed = true where id = {}", transfer.target);
    let refused = bank.client(1).await.batch_execute(&close).await.expect_err("it has promised");
    assert_eq!(refused.code().expect("a code").code(), "SB008");
    let shown = run(&bank, &["status"]).await;
    let line = format!("{OPENING_BALANCE} held");
    assert!(said(&shown).contains(&line), "{}", said(&shown));
    assert!(said(&shown).contains("1 hold(s) open, 0 of them expired"), "{}", said(&shown));

    // While it is undecided nobody else can carry out the same transfer.
    let report =
        bank::strategy("2pc").transfer(&verbs, &bank::again(&transfer), bank::tries(1)).await;
    assert!(matches!(report.outcome, Outcome::Failed(_)), "{:?}", report.outcome);
    let report =
        bank::strategy(RESERVATION).transfer(&verbs, &bank::again(&transfer), bank::tries(1)).await;
    assert_eq!(report.outcome, Outcome::Committed, "it takes the holds over");
    bank.client(1).await.batch_execute(&close).await.expect("no promise stands any more");
    assert_eq!(run(&bank, &["audit", "--at-rest"]).await.status.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_finds_what_is_held_for_nobody() {
    let bank = Bank::open().await;
    let account = bank.account(0, 3);
    let plant = format!("update shardbank.account set held = 7 where id = {account}");
    bank.client(0).await.batch_execute(&plant).await.expect("planted");
    let audit = run(&bank, &["audit"]).await;
    assert_eq!(audit.status.code(), Some(3), "{}", said(&audit));
    assert!(said(&audit).contains("held 7 by holds of 0"), "{}", said(&audit));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reservation_that_is_refused_leaves_nothing_held_and_the_same_answer() {
    let bank = Bank::open().await;
    let (_context, verbs) = bank.coordinator().await;
    let no = Outcome::Rejected(Rejection::UnknownAccount);
    for (from, to) in [(0, 1), (1, 0)] {
        let transfer = bank::transfer(bank.account(from, 2), bank::missing_account(to), 5);
        for strategy in [RESERVATION, "2pc", "saga", RESERVATION] {
            let call = bank::again(&transfer);
            let report = bank::strategy(strategy).transfer(&verbs, &call, bank::tries(3)).await;
            assert_eq!(report.outcome, no, "{strategy}, from shard {from}");
        }
        assert_eq!(standing(&bank, &transfer.debit(verbs.routing())).await.2, 0);
    }
    assert_eq!(run(&bank, &["audit", "--at-rest"]).await.status.code(), Some(0));
}
