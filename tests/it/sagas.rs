//! Sagas on real shards: steps that come twice or too late, orchestrators side by side, and the day
//! when one has been given up.

use std::time::Duration;

use futures_util::future::join_all;
use shardbank::ledger::postgres::PostgresVerbs;
use shardbank::outcome::{Attempt, LegOutcome, Outcome, Refusal, Rejection, Tombstone};
use shardbank::strategies::recovery::recover;
use shardbank::transfer::{LegKind, Transfer};
use shardbank::verbs::Verbs;
use shardbank::verbs::saga::{ATTEMPTS_MAX, SagaVerbs};

use crate::bank::{self, Bank, OPENING_BALANCE};
use crate::doomed::{run, said};

const SAGA: &str = "saga";

/// A saga whose orchestrator went away right after its debit.
async fn leave(verbs: &PostgresVerbs, transfer: &Transfer) {
    let debit = transfer.debit(verbs.routing());
    let owner = verbs.fresh_owner();
    assert_eq!(verbs.debit_with_saga(&debit, owner, SAGA).await, Attempt::Done);
}

/// The states of all sagas on a shard.
async fn states(bank: &Bank, shard: u16) -> Vec<String> {
    let client = bank.client(shard).await;
    let rows = client.query("select state from shardbank.saga order by state", &[]).await;
    rows.expect("read").iter().map(|row| row.get(0)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_step_of_a_saga_that_comes_twice_runs_once() {
    let bank = Bank::open().await;
    let (_context, verbs) = bank.coordinator().await;
    let transfer = bank::transfer(bank.account(0, 0), bank.account(1, 0), 5);
    let (debit, credit) = (transfer.debit(verbs.routing()), transfer.credit(verbs.routing()));

    leave(&verbs, &transfer).await;
    let again = verbs.debit_with_saga(&debit, verbs.fresh_owner(), SAGA).await;
    assert_eq!(again, Attempt::LegStands);
    assert_eq!(bank.balance(transfer.source).await, OPENING_BALANCE - 5);

    assert_eq!(verbs.credit(&credit, SAGA).await, Attempt::Done);
    assert_eq!(verbs.credit(&credit, SAGA).await, Attempt::LegStands);
    assert_eq!(bank.balance(transfer.target).await, OPENING_BALANCE + 5);

    for _ in 0..2 {
        verbs.complete_saga(&debit).await.expect("completed");
        assert_eq!(states(&bank, 0).await, ["completed"]);
    }

    let refused = bank::transfer(bank.account(0, 1), bank.account(1, 1), 7);
    let (debit, credit) = (refused.debit(verbs.routing()), refused.credit(verbs.routing()));
    leave(&verbs, &refused).await;
    let no = Refusal::Rejected(Rejection::ClosedAccount);
    assert_eq!(verbs.record_refusal(&credit, no, SAGA).await, Ok(Tombstone::Placed));
    assert_eq!(verbs.refund_debit(&debit, SAGA).await, Attempt::Done);
    assert_eq!(verbs.refund_debit(&debit, SAGA).await, Attempt::LegStands);
    assert_eq!(bank.balance(refused.source).await, OPENING_BALANCE);
    assert_eq!(states(&bank, 0).await, ["completed", "refunded"]);
    assert_eq!(run(&bank, &["audit", "--at-rest"]).await.status.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_comes_after_its_compensation_never_runs() {
    let bank = Bank::open().await;
    let (_context, verbs) = bank.coordinator().await;
    let transfer = bank::transfer(bank.account(0, 0), bank.account(1, 0), 5);
    let (debit, credit) = (transfer.debit(verbs.routing()), transfer.credit(verbs.routing()));

    // The compensation finds no debit: it makes sure that there never will be one.
    let placed = verbs.entomb(debit.shard, transfer.id, LegKind::Debit).await;
    assert_eq!(placed, Ok(Tombstone::Placed));
    let late = verbs.debit_with_saga(&debit, verbs.fresh_owner(), SAGA).await;
    assert_eq!(late, Attempt::LegStands);

    let placed = verbs.entomb(credit.shard, transfer.id, LegKind::Credit).await;
    assert_eq!(placed, Ok(Tombstone::Placed));
    assert_eq!(verbs.credit(&credit, SAGA).await, Attempt::LegStands);

    assert_eq!(bank.legs_of(&transfer).await, vec![]);
    assert_eq!(states(&bank, 0).await, Vec::<String>::new(), "no debit, no saga");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credit_that_is_refused_is_made_good_and_told_again_to_whoever_repeats_the_call() {
    let bank = Bank::open().await;
    let (_context, verbs) = bank.coordinator().await;
    let no = Outcome::Rejected(Rejection::UnknownAccount);
    for (from, to) in [(0, 1), (1, 0)] {
        let transfer = bank::transfer(bank.account(from, 2), bank::missing_account(to), 5);
        for strategy in [SAGA, "2pc", "2pc-last-agent", SAGA] {
            let call = bank::again(&transfer);
            let report = bank::strategy(strategy).transfer(&verbs, &call, bank::tries(3)).await;
            assert_eq!(report.outcome, no, "{strategy}, from shard {from}");
        }
        let legs = bank.legs_of(&transfer).await;
        assert_eq!(legs, [("debit".to_owned(), -5), ("refund".to_owned(), 5)]);
        assert_eq!(bank.balance(transfer.source).await, OPENING_BALANCE);
    }
    assert_eq!(run(&bank, &["audit", "--at-rest"]).await.status.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn orchestrators_side_by_side_finish_every_saga_once() {
    let bank = Bank::open().await;
    let (context, verbs) = bank.coordinator().await;
    let mut left = Vec::new();
    for n in 0..20 {
        let target = if n % 4 == 0 { bank::missing_account(1) } else { bank.account(1, n % 20) };
        let transfer = bank::transfer(bank.account(0, n), target, 5);
        leave(&verbs, &transfer).await;
        left.push(transfer);
    }
    drop((context, verbs));

    let (_first, one) = bank.coordinator().await;
    let (_second, two) = bank.coordinator().await;
    let (mut credited, mut refunded) = (0, 0);
    while states(&bank, 0).await.iter().any(|state| state == "debited") {
        // A dead orchestrator's sagas may be claimed at once, a living one's not before its lease is
        // over.
        let grace = Duration::from_secs(3600);
        for pass in join_all([&one, &two].map(|verbs| recover(verbs, grace))).await {
            credited += pass.credited;
            refunded += pass.refunded;
            assert_eq!(pass.given_up, vec![]);
        }
    }
    for (n, transfer) in left.iter().enumerate() {
        let end = if n % 4 == 0 { "refund" } else { "credit" };
        let amount = 5;
        let mut legs = vec![(end.to_owned(), amount), ("debit".to_owned(), -amount)];
        legs.sort();
        assert_eq!(bank.legs_of(transfer).await, legs);
    }
    assert_eq!((credited, refunded), (15, 5), "each was claimed by one of them");
    assert_eq!(run(&bank, &["audit", "--at-rest"]).await.status.code(), Some(0));
}

/// A saga that was given up because its target was in the way too often. The account is free again.
async fn given_up(bank: &Bank) -> Transfer {
    let (context, verbs) = bank.coordinator().await;
    let transfer = bank::transfer(bank.account(0, 0), bank.account(1, 0), 5);
    leave(&verbs, &transfer).await;
    drop((context, verbs));
    let client = bank.client(0).await;
    let but_one = i32::try_from(ATTEMPTS_MAX - 1).expect("few");
    client.execute("update shardbank.saga set attempts = $1", &[&but_one]).await.expect("set");

    let in_the_way = bank.lock(transfer.target).await;
    let recovery = run(bank, &["recover", "--grace", "0", "--lock-timeout", "50"]).await;
    assert_eq!(recovery.status.code(), Some(5), "{}", said(&recovery));
    assert!(said(&recovery).contains("--retry-dead"), "{}", said(&recovery));
    drop(in_the_way);

    assert_eq!(states(bank, 0).await, ["dead"]);
    let status = run(bank, &["status"]).await;
    let line = format!("saga {} is dead", transfer.id);
    assert!(said(&status).contains(&line), "{}", said(&status));
    // Automatic attempts have stopped, and the money is accounted for.
    let recovery = run(bank, &["recover", "--grace", "0"]).await;
    assert_eq!(recovery.status.code(), Some(5), "{}", said(&recovery));
    assert_eq!(bank.balance(transfer.source).await, OPENING_BALANCE - 5);
    assert_eq!(run(bank, &["audit"]).await.status.code(), Some(0));
    transfer
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_does_not_wait_until_a_saga_is_due() {
    let bank = Bank::open().await;
    let (context, verbs) = bank.coordinator().await;
    let transfer = bank::transfer(bank.account(0, 0), bank.account(1, 0), 5);
    leave(&verbs, &transfer).await;
    let later = "update shardbank.saga set owner = null, lease_until = null, \
                 next_attempt_at = clock_timestamp() + interval '1 hour'";
    bank.client(0).await.batch_execute(later).await.expect("postponed");
    drop((context, verbs));
    assert_eq!(bank.recover().await.owed.len(), 1, "recovery beside others lets it wait");
    let recovered = run(&bank, &["recover"]).await;
    assert_eq!(recovered.status.code(), Some(0), "{}", said(&recovered));
    assert_eq!(bank.balance(transfer.target).await, OPENING_BALANCE + 5);
    assert_eq!(states(&bank, 0).await, ["completed"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_saga_that_was_given_up_is_credited_on_an_operators_word() {
    let bank = Bank::open().await;
    let transfer = given_up(&bank).await;
    let recovery = run(&bank, &["recover", "--retry-dead"]).await;
    assert_eq!(recovery.status.code(), Some(0), "{}", said(&recovery));
    assert_eq!(states(&bank, 0).await, ["completed"]);
    assert_eq!(bank.balance(transfer.target).await, OPENING_BALANCE + 5);
    assert_eq!(run(&bank, &["audit", "--at-rest"]).await.status.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_saga_that_was_given_up_is_refunded_on_an_operators_word() {
    let bank = Bank::open().await;
    let transfer = given_up(&bank).await;
    for _ in 0..2 {
        let recovery = run(&bank, &["recover", "--refund-dead"]).await;
        assert_eq!(recovery.status.code(), Some(0), "{}", said(&recovery));
        assert_eq!(states(&bank, 0).await, ["refunded"]);
        assert_eq!(bank.balance(transfer.source).await, OPENING_BALANCE);
        assert_eq!(bank.balance(transfer.target).await, OPENING_BALANCE);
    }
    // A late credit finds that it never may run.
    let (_context, verbs) = bank.coordinator().await;
    let credit = transfer.credit(verbs.routing());
    assert_eq!(verbs.credit(&credit, SAGA).await, Attempt::LegStands);
    let leg = verbs.read_leg(credit.shard, transfer.id, credit.kind).await.expect("read");
    assert_eq!(leg.expect("a tombstone").outcome, LegOutcome::Empty);
    assert_eq!(run(&bank, &["audit", "--at-rest"]).await.status.code(), Some(0));
}
