//! The audit must find what is wrong, say so, and find nothing where nothing is.

use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use shardbank::audit::{AuditReport, Violation, audit, audit_at_one_instant};
use shardbank::outcome::{Attempt, Decision, Outcome};
use shardbank::verbs::locking::{Claimed, Fence, HolderId, LockVerbs};
use shardbank::verbs::{Register, Verbs};

use crate::bank::{self, Bank, OPENING_BALANCE};
use crate::support::executable;

async fn audited(bank: &Bank) -> AuditReport {
    audit(&bank.cluster).await.expect("every shard answers")
}

/// One committed transfer, so that there is something to break.
async fn one_transfer(bank: &Bank) -> shardbank::transfer::Transfer {
    let transfer = bank::transfer(bank.account(0, 0), bank.account(1, 0), 5);
    let verbs = bank.teller().await;
    let report = bank::strategy("2pc").transfer(verbs, &transfer, bank::tries(1)).await;
    assert_eq!(report.outcome, Outcome::Committed);
    transfer
}

async fn meddle(bank: &Bank, shard: u16, statement: &str) {
    bank.client(shard).await.batch_execute(statement).await.expect("meddled");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_untouched_bank_is_clean() {
    let bank = Bank::open().await;
    one_transfer(&bank).await;
    let report = audited(&bank).await;
    assert!(report.is_conserved(), "{report:?}");
    assert_eq!(report.half_visible, 0);
    assert_eq!(report.shards.iter().map(|shard| shard.accounts).sum::<i64>(), 60);
    let total: i128 = report.shards.iter().map(|shard| shard.balance_total).sum();
    assert_eq!(total, i128::from(60 * OPENING_BALANCE));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_balance_that_the_ledger_does_not_explain_is_found() {
    let bank = Bank::open().await;
    one_transfer(&bank).await;
    let account = bank.account(1, 3);
    meddle(
        &bank,
        1,
        &format!("update shardbank.account set balance = balance + 1 where id = {account}"),
    )
    .await;
    let report = audited(&bank).await;
    let [Violation::Accounts { shard, count: 1, offending }] = report.violations.as_slice() else {
        panic!("{report:?}");
    };
    assert_eq!(shard.0, 1);
    assert!(offending[0].contains(&format!("account {account}:")), "{offending:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_of_which_one_effect_is_missing_is_found() {
    let bank = Bank::open().await;
    let transfer = one_transfer(&bank).await;
    // A credit that vanished together with its leg: each shard's books are right by themselves.
    meddle(
        &bank,
        1,
        &format!(
            "begin; delete from shardbank.leg where transfer_id = '{}'; \
             update shardbank.account set balance = balance - 5 where id = {}; commit",
            transfer.id, transfer.target
        ),
    )
    .await;
    let report = audited(&bank).await;
    assert!(
        report.violations.contains(&Violation::HalfApplied { transfer: transfer.id.0, change: -5 }),
        "{report:?}"
    );
    // Home's decision says that the credit should be there.
    assert!(
        report.violations.iter().any(|violation| matches!(
            violation,
            Violation::Contradicted { transfer: id, .. } if *id == transfer.id.0
        )),
        "{report:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn money_made_together_with_its_opening_balance_is_found() {
    let bank = Bank::open().await;
    meddle(
        &bank,
        2,
        &format!(
            "update shardbank.account set balance = balance + 7, \
             opening_balance = opening_balance + 7 where id = {}",
            bank.account(2, 0)
        ),
    )
    .await;
    let report = audited(&bank).await;
    let total = i128::from(60 * OPENING_BALANCE);
    let expected = Violation::NotConserved { now: total + 7, at_init: total };
    assert_eq!(report.violations, [expected]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_vanished_with_its_money_is_found() {
    let bank = Bank::open().await;
    let transfer = one_transfer(&bank).await;
    meddle(&bank, 0, &format!("delete from shardbank.account where id = {}", transfer.source))
        .await;
    let report = audited(&bank).await;
    assert!(
        report.violations.iter().any(|violation| matches!(violation, Violation::Accounts { .. })),
        "{report:?}"
    );
    assert!(
        report.violations.iter().any(|v| matches!(v, Violation::NotConserved { .. })),
        "{report:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_in_flight_is_listed_and_is_no_violation() {
    let bank = Bank::open().await;
    let verbs = bank.teller().await;
    let transfer = bank::transfer(bank.account(0, 0), bank.account(1, 0), 5);
    let gids = bank::prepare_both(verbs, &transfer, Register::Table).await;
    assert_eq!(audited(&bank).await.prepared.len(), 2);
    // Decided, and one of the two carried out: half-visible, and still no violation.
    let key = gids[0].1.decision_key(gids[0].0);
    let participants = Some(transfer.participants(verbs.routing()));
    let decided = verbs.decide(&key, participants, Decision::Commit).await;
    assert_eq!(decided, Ok(Decision::Commit));
    verbs.commit_prepared(gids[0].0, &gids[0].1).await;
    let report = audited(&bank).await;
    assert!(report.is_conserved(), "{report:?}");
    assert_eq!((report.half_visible, report.prepared.len()), (1, 1));
    verbs.commit_prepared(gids[1].0, &gids[1].1).await;
    let report = audited(&bank).await;
    assert_eq!((report.half_visible, report.prepared.len()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_audit_beside_running_transfers_is_clean() {
    let bank = std::sync::Arc::new(Bank::open().await);
    let stop = std::sync::Arc::new(AtomicBool::new(false));
    let mut carriers = Vec::new();
    for n in 0..4 {
        let (bank, stop) = (std::sync::Arc::clone(&bank), std::sync::Arc::clone(&stop));
        carriers.push(tokio::spawn(async move {
            let (_context, verbs) = bank.coordinator().await;
            let strategies = ["2pc", "2pc-last-agent", "2pc:log=file", "2pc:ack=early"];
            let strategy = bank::strategy(strategies[n]);
            let mut carried = 0;
            while !stop.load(Ordering::Relaxed) {
                let (here, there) = (carried % 3, (carried + 1) % 3);
                let transfer = bank::transfer(
                    bank.account(here as u16, n as i64),
                    bank.account(there as u16, (n as i64 + carried) % 20),
                    1,
                );
                strategy.transfer(&verbs, &transfer, bank::tries(3)).await;
                carried += 1;
            }
            verbs.drain().await;
            carried
        }));
    }
    for _ in 0..10 {
        let report = audited(&bank).await;
        assert!(report.is_conserved(), "{report:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stop.store(true, Ordering::Relaxed);
    for carrier in carriers {
        assert!(carrier.await.expect("it ends") > 0, "a test that moved nothing shows nothing");
    }
}

async fn audit_locking(bank: &Bank) -> Output {
    let mut command = Command::new(executable());
    command.args(["audit", "--locking"]);
    command.args(bank.urls().iter().flat_map(|url| ["--shard", url]));
    tokio::task::spawn_blocking(move || command.output().expect("the executable runs"))
        .await
        .expect("it does not panic")
}

fn said(output: &Output) -> (Option<i32>, String) {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.code(), text + &String::from_utf8_lossy(&output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn money_between_two_commits_is_in_flight_at_one_instant_and_a_loss_is_a_loss() {
    let bank = Bank::open().await;
    let verbs = bank.teller().await;
    let whole = one_transfer(&bank).await;
    let (code, text) = said(&audit_locking(&bank).await);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("money in flight: 0"), "{text}");

    let transfer = bank::transfer(bank.account(2, 3), bank.account(0, 3), 7);
    let debit = transfer.debit(verbs.routing());
    let fence = Fence { epoch: 1, token: 1, holder: HolderId::fresh() };
    let debited = verbs.debit_with_intent(&debit, fence, "lock-advisory").await;
    assert_eq!(debited, Claimed::Done);
    let (code, text) = said(&audit_locking(&bank).await);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("money in flight: 7"), "{text}");
    // Nobody is held off any longer.
    let credited = verbs.credit_intended(&transfer.credit(verbs.routing()), "lock-advisory").await;
    assert_eq!(credited, Attempt::Done);
    let (code, text) = said(&audit_locking(&bank).await);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("money in flight: 0"), "{text}");

    // Money goes, and its leg with it: each shard's books are right by themselves.
    meddle(
        &bank,
        1,
        &format!(
            "begin; delete from shardbank.leg where transfer_id = '{}'; \
             update shardbank.account set balance = balance - 5 where id = {}; commit",
            whole.id, whole.target
        ),
    )
    .await;
    let (code, text) = said(&audit_locking(&bank).await);
    assert_eq!(code, Some(3), "{text}");
    assert!(text.contains("money in flight: 5") && text.contains("half applied"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn at_one_instant_two_phase_commit_has_nothing_in_flight() {
    let bank = std::sync::Arc::new(Bank::open().await);
    let stop = std::sync::Arc::new(AtomicBool::new(false));
    let mut carriers = Vec::new();
    for (n, strategy) in (0..).zip(["2pc", "2pc-last-agent", "2pc:statements=one-by-one"]) {
        let (bank, stop) = (std::sync::Arc::clone(&bank), std::sync::Arc::clone(&stop));
        carriers.push(tokio::spawn(async move {
            let (_context, verbs) = bank.coordinator().await;
            let mut committed = 0;
            while !stop.load(Ordering::Relaxed) {
                let transfer = bank::transfer(bank.account(0, n), bank.account(1, n), 1);
                let back = bank::transfer(bank.account(1, n), bank.account(0, n), 1);
                for transfer in [transfer, back] {
                    let strategy = bank::strategy(strategy);
                    let report = strategy.transfer(&verbs, &transfer, bank::tries(20)).await;
                    committed += u32::from(report.outcome == Outcome::Committed);
                }
            }
            committed
        }));
    }
    for _ in 0..10 {
        let report = audit_at_one_instant(&bank.cluster).await.expect("writers end");
        assert!(report.is_conserved(), "{report:?}");
        assert_eq!((report.in_flight, report.half_visible), (Some(0), 0), "{report:?}");
        assert_eq!(audited(&bank).await.in_flight, None);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stop.store(true, Ordering::Relaxed);
    for carrier in carriers {
        assert!(carrier.await.expect("it ends") > 0, "a test that moved nothing shows nothing");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_that_stays_prepared_cannot_be_held_off_and_is_named() {
    let bank = Bank::open().await;
    let held = bank.client(1).await;
    held.batch_execute(
        "begin; update shardbank.account set held = 0 where id = 2; \
         prepare transaction 'somebody elses'",
    )
    .await
    .expect("prepared");
    let (code, text) = said(&audit_locking(&bank).await);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("shard 1") && text.contains("run `recover`"), "{text}");
    held.batch_execute("rollback prepared 'somebody elses'").await.expect("rolled back");
    assert_eq!(said(&audit_locking(&bank).await).0, Some(0));
}
