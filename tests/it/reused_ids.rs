//! A transfer id that is used again for another order, on shards that overlap: the other order may
//! be refused or go through, but no effect of either is carried out on the strength of the other.

use std::time::Duration;

use shardbank::locks::backend::Backend;
use shardbank::outcome::{Attempt, Decision, Finish, LegOutcome, Outcome};
use shardbank::strategies::recovery::recover;
use shardbank::transfer::{AccountId, LegKind, Transfer};
use shardbank::verbs::holding::HoldVerbs;
use shardbank::verbs::{DecisionKey, Register, Verbs};

use crate::bank::{self, Bank, OPENING_BALANCE};
use crate::doomed::{run, said};
use crate::locks::under_locks;

const LONG: Duration = Duration::from_secs(3600);

/// Another order under the id of `transfer`.
fn reusing(transfer: &Transfer, source: AccountId, target: AccountId) -> Transfer {
    Transfer { source, target, ..bank::again(transfer) }
}

/// An order from shard 0 to shard 2.
fn order(bank: &Bank) -> Transfer {
    bank::transfer(bank.account(0, 0), bank.account(2, 0), 5)
}

/// Others under its id: three that share its home, of which the second shares both shards; one that
/// shares its other shard only; and how each is carried out by `strategy`, or else.
fn others<'a>(bank: &Bank, transfer: &Transfer, strategy: &'a str) -> [(Transfer, &'a str); 4] {
    [
        (reusing(transfer, bank.account(1, 7), bank.account(2, 7)), strategy),
        (reusing(transfer, bank.account(2, 8), bank.account(0, 8)), strategy),
        (reusing(transfer, bank.account(2, 9), bank.account(2, 10)), "same-shard"),
        (reusing(transfer, bank.account(1, 11), bank.account(0, 11)), strategy),
    ]
}

async fn at_rest(bank: &Bank, what: &str) {
    let audit = run(bank, &["audit", "--at-rest"]).await;
    assert_eq!(audit.status.code(), Some(0), "{what}: {}", said(&audit));
}

/// Passes of recovery until nothing of a dead coordinator is left.
async fn recover_fully(bank: &Bank) {
    let (_context, verbs) = bank.coordinator().await;
    loop {
        let pass = recover(&verbs, LONG).await;
        if pass.in_flight == 0 && pass.is_clean() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_is_not_committed_by_the_decision_on_another_order_under_its_id() {
    let bank = Bank::open().await;
    for register in [Register::Table, Register::File] {
        for strategy in ["2pc", "2pc:log=file", "2pc-last-agent", "reservation"] {
            for which in 0..4 {
                let what = format!("{register:?}, {strategy}, order {which}");
                let first = order(&bank);
                let (context, verbs) = bank.coordinator().await;
                let debit = first.debit(verbs.routing());
                bank::prepare(&verbs, &debit, register).await;

                // By the same coordinator, which then dies: its file knows both.
                let (other, by) = others(&bank, &first, strategy)[which];
                let accounts = [other.source, other.target];
                let before = [bank.balance(accounts[0]).await, bank.balance(accounts[1]).await];
                let report = bank::strategy(by).transfer(&verbs, &other, bank::tries(1)).await;
                assert_eq!(report.outcome, Outcome::Committed, "{what}");
                drop((context, verbs));

                recover_fully(&bank).await;
                assert_eq!(bank.balance(first.source).await, OPENING_BALANCE, "{what}");
                let after = [bank.balance(accounts[0]).await, bank.balance(accounts[1]).await];
                assert_eq!(after, [before[0] - 5, before[1] + 5], "{what}");
            }
        }
    }
    at_rest(&bank, "all").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_finds_its_id_decided_for_another_order_is_not_told_that_it_went_through() {
    let bank = Bank::open().await;
    let teller = bank.teller().await;
    for which in 0..4 {
        for name in ["2pc", "2pc:log=file", "2pc-last-agent", "reservation", "saga"] {
            let first = order(&bank);
            let before = bank.balance(first.source).await;
            let (other, by) = others(&bank, &first, "2pc")[which];
            let report = bank::strategy(by).transfer(teller, &other, bank::tries(1)).await;
            assert_eq!(report.outcome, Outcome::Committed);
            let call = bank::again(&first);
            let report = bank::strategy(name).transfer(teller, &call, bank::tries(1)).await;
            let went_through = bank.balance(first.source).await != before;
            let what = format!("{name} after order {which}: {:?}", report.outcome);
            assert_eq!(report.outcome == Outcome::Committed, went_through, "{what}");
        }
    }
    recover_fully(&bank).await;
    at_rest(&bank, "all").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_debit_that_is_owed_a_credit_is_not_paid_by_another_order_under_its_id() {
    for name in ["saga", "saga-choreographed", "lock-lease"] {
        let bank = Bank::open().await;
        let teller = under_locks(&bank, bank.teller().await.clone(), &Backend::Lease).await;
        // Its answer is sought on shard 2, where the other order never was.
        let first = bank::transfer(bank.account(2, 0), bank.account(1, 0), 5);
        let other = reusing(&first, bank.account(0, 7), bank.account(1, 7));
        let report = bank::strategy("2pc").transfer(&teller, &other, bank::tries(1)).await;
        assert_eq!(report.outcome, Outcome::Committed);
        for _ in 0..2 {
            let call = bank::again(&first);
            let report = bank::strategy(name).transfer(&teller, &call, bank::tries(1)).await;
            assert!(matches!(report.outcome, Outcome::Aborted(_)), "{name}: {:?}", report.outcome);
        }
        assert_eq!(bank.balance(first.source).await, OPENING_BALANCE, "{name}");
        assert_eq!(bank.balance(first.target).await, OPENING_BALANCE, "{name}");
        teller.drain().await;
        at_rest(&bank, name).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_is_not_confirmed_by_the_decision_on_another_order_under_its_id() {
    for which in 0..4 {
        // Held on one account when its coordinator dies, or refused at home while it lives.
        for dies in [true, false] {
            let bank = Bank::open().await;
            let (context, verbs) = bank.coordinator().await;
            let first = order(&bank);
            let debit = first.debit(verbs.routing());
            assert_eq!(verbs.reserve(&debit, LONG, "reservation").await, Attempt::Done);
            let (other, by) = others(&bank, &first, "2pc")[which];
            let report = bank::strategy(by).transfer(&verbs, &other, bank::tries(1)).await;
            assert_eq!(report.outcome, Outcome::Committed);
            // Where the two have no shard in common but the first, both may go through.
            let mut committed = false;
            if !dies {
                let call = bank::again(&first);
                let report =
                    bank::strategy("reservation").transfer(&verbs, &call, bank::tries(1)).await;
                committed = report.outcome == Outcome::Committed;
                assert_eq!(committed, which == 3, "order {which}: {:?}", report.outcome);
            }
            drop((context, verbs));

            recover_fully(&bank).await;
            let what = format!("order {which}, dies {dies}");
            let moved = i64::from(committed) * 5;
            assert_eq!(bank.balance(first.source).await, OPENING_BALANCE - moved, "{what}");
            assert_eq!(bank.balance(first.target).await, OPENING_BALANCE + moved, "{what}");
            let verbs = bank.teller().await;
            let leg = verbs.read_leg(debit.shard, first.id, LegKind::Debit).await.expect("read");
            assert!(!leg.is_some_and(|leg| leg.outcome == LegOutcome::Held), "{what}");
            at_rest(&bank, &what).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_that_is_decided_is_not_cancelled_by_another_order_under_its_id() {
    let bank = Bank::open().await;
    let (context, verbs) = bank.coordinator().await;
    let decided = order(&bank);
    let branches = decided.branches(verbs.routing());
    for branch in &branches {
        assert_eq!(verbs.reserve(branch, LONG, "reservation").await, Attempt::Done);
    }
    let key =
        DecisionKey::in_table(verbs.routing(), verbs.epoch().await.expect("an epoch"), &decided);
    let participants = Some(decided.participants(verbs.routing()));
    let standing = verbs.decide(&key, participants, Decision::Commit).await;
    assert_eq!(standing, Ok(Decision::Commit));

    // Its first hold is its own, its second meets the other's.
    let other = reusing(&decided, bank.account(1, 7), bank.account(2, 7));
    let report = bank::strategy("reservation").transfer(&verbs, &other, bank::tries(2)).await;
    assert_eq!(report.outcome, Outcome::IdReused);
    drop((context, verbs));

    recover_fully(&bank).await;
    assert_eq!(bank.balance(decided.source).await, OPENING_BALANCE - 5);
    assert_eq!(bank.balance(decided.target).await, OPENING_BALANCE + 5);
    assert_eq!(bank.balance(other.source).await, OPENING_BALANCE);
    assert_eq!(bank.balance(other.target).await, OPENING_BALANCE);
    at_rest(&bank, "all").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_has_carried_out_one_order_keeps_the_decision_on_the_next_under_its_id() {
    let bank = Bank::open().await;
    let (context, verbs) = bank.coordinator().await;
    let first = order(&bank);
    let report = bank::strategy("2pc:log=file").transfer(&verbs, &first, bank::tries(1)).await;
    assert_eq!(report.outcome, Outcome::Committed);

    // The next order meets the first on no leg. It is decided, half carried out, and left.
    let other = reusing(&first, bank.account(1, 7), bank.account(0, 7));
    let gids = bank::prepare_both(&verbs, &other, Register::File).await;
    let [(shard, gid), _] = &gids;
    let participants = Some(other.participants(verbs.routing()));
    let key = gid.decision_key(*shard);
    let standing = verbs.decide(&key, participants, Decision::Commit).await;
    assert_eq!(standing, Ok(Decision::Commit));
    assert_eq!(verbs.commit_prepared(*shard, gid).await, Finish::Done);
    drop((context, verbs));

    recover_fully(&bank).await;
    for order in [&first, &other] {
        assert_eq!(bank.balance(order.source).await, OPENING_BALANCE - 5);
        assert_eq!(bank.balance(order.target).await, OPENING_BALANCE + 5);
    }
    at_rest(&bank, "all").await;
}
