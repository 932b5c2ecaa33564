//! Events that cannot be handled, that are left behind, that are pruned; and relays that are woken.

use std::time::Duration;

use shardbank::outcome::Outcome;
use shardbank::strategies::relay::{Round, round};
use shardbank::strategies::saga_choreographed::{BATCH, NAME};
use shardbank::transfer::ShardIndex;
use shardbank::verbs::Verbs;
use shardbank::verbs::events::EventVerbs;

use crate::bank::{self, Bank, OPENING_BALANCE, strategy, tries};
use crate::doomed::{run, said};
use crate::events::{audited, debit, debited, open};

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_cannot_be_handled_parks_its_account_and_nobody_elses() {
    let bank = Bank::open().await;
    let teller = bank.teller().await;
    let (bad, good) = (bank.account(1, 0), bank.account(1, 1));
    let target = bank.client(1).await;
    let limit = format!(
        "alter table shardbank.account add constraint poison check (id <> {} or balance <= {})",
        bad.get(),
        OPENING_BALANCE
    );
    target.batch_execute(&limit).await.expect("added");
    let poison = bank::transfer(bank.account(0, 0), bad, 5);
    let behind = bank::transfer(bank.account(0, 0), good, 5);
    let beside = bank::transfer(bank.account(0, 1), good, 5);
    for transfer in [&poison, &behind, &beside] {
        debit(teller, transfer).await;
    }
    for _ in 0..3 {
        round(teller, ShardIndex(0), BATCH).await;
    }
    assert_eq!(bank.balance(good).await, OPENING_BALANCE + 5, "others go on");
    let later = bank::transfer(bank.account(0, 0), good, 5);
    debit(teller, &later).await;
    assert_eq!(round(teller, ShardIndex(0), BATCH).await, Round::Idle);
    assert_eq!(bank.balance(good).await, OPENING_BALANCE + 5, "what comes after it waits");

    let status = run(&bank, &["status"]).await;
    let parked = format!("transfer {} is parked, and 2 later event(s)", poison.id);
    assert!(said(&status).contains(&parked), "{}", said(&status));
    assert!(said(&status).contains("poison"), "it says why: {}", said(&status));
    let recovered = bank.recover().await;
    assert_eq!(recovered.owed.len(), 3, "{recovered:?}");
    assert_eq!(recovered.owed[0].0, poison.id);
    let audit = run(&bank, &["audit", "--at-rest"]).await;
    assert_eq!(audit.status.code(), Some(5), "open, and nothing lost: {}", said(&audit));

    target
        .batch_execute("alter table shardbank.account drop constraint poison")
        .await
        .expect("gone");
    assert!(bank.recover().await.is_clean());
    assert_eq!(bank.balance(bad).await, OPENING_BALANCE + 5);
    assert_eq!(bank.balance(good).await, OPENING_BALANCE + 15);
    audited(&bank).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_is_locked_holds_up_its_own_events_only() {
    let bank = Bank::open().await;
    let teller = bank.teller().await;
    let (locked, free) = (bank.account(1, 0), bank.account(1, 1));
    let blocker = bank.lock(locked).await;
    let waits = bank::transfer(bank.account(0, 0), locked, 5);
    let goes = bank::transfer(bank.account(0, 1), free, 5);
    debit(teller, &waits).await;
    debit(teller, &goes).await;
    round(teller, ShardIndex(0), BATCH).await;
    assert_eq!(bank.balance(free).await, OPENING_BALANCE + 5);
    assert_eq!(open(&bank, 0).await, [debited(&waits), debited(&goes)], "neither is answered yet");
    blocker.batch_execute("rollback").await.expect("unlocked");
    // It rests for a while; relays come back to it by themselves.
    let report = strategy(NAME).transfer(teller, &bank::again(&waits), tries(1)).await;
    assert_eq!(report.outcome, Outcome::Committed, "who asks under its id carries it on");
    assert!(bank.recover().await.is_clean());
    audited(&bank).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn relays_end_with_whoever_started_them_and_others_take_over() {
    let bank = Bank::open().await;
    let (context, first) = bank.coordinator().await;
    let settings = first.pools().settings().clone();
    let second = shardbank::ledger::postgres::PostgresVerbs::new(context, settings);
    for (verbs, n) in [(&first, 0), (&second, 1)] {
        let transfer = bank::transfer(bank.account(0, n), bank.account(1, n), 1);
        let report = strategy(NAME).transfer(verbs, &transfer, tries(1)).await;
        assert_eq!(report.outcome, Outcome::Committed);
    }
    first.drain().await;
    drop(first);
    for n in 2..5 {
        let transfer = bank::transfer(bank.account(0, n), bank.account(1, n), 1);
        let report = strategy(NAME).transfer(&second, &transfer, tries(1)).await;
        assert_eq!(report.outcome, Outcome::Committed, "the second's relays had stood by");
    }
    second.drain().await;
    audited(&bank).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notification_wakes_the_relay_of_another_process() {
    let bank = Bank::open().await;
    let (_one, listener) = bank.coordinator().await;
    // Its relays look by themselves once a minute only.
    let patient = strategy("saga-choreographed:poll=60000,notify=on");
    let first = bank::transfer(bank.account(0, 0), bank.account(1, 0), 1);
    let report = patient.transfer(&listener, &first, tries(1)).await;
    assert_eq!(report.outcome, Outcome::Committed);
    let listening = "select count(*) from pg_stat_activity where query = 'listen shardbank_outbox' \
                     and datname = current_database()";
    for shard in 0..bank::SHARDS {
        let client = bank.client(shard).await;
        while client.query_one(listening, &[]).await.expect("looked").get::<_, i64>(0) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    // Somebody else's debit, who has no relay.
    let other = bank.client(0).await;
    let transfer = bank::transfer(bank.account(0, 1), bank.account(1, 1), 2);
    let debit = "select shardbank.debit_with_event($1, $2, $3, 2, 'saga-choreographed', 0, true)";
    let (source, target) = (transfer.source.get(), transfer.target.get());
    other.execute(debit, &[&transfer.id.0, &source, &target]).await.expect("debited");
    while bank.legs_of(&transfer).await.len() < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    while !open(&bank, 0).await.is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    listener.drain().await;
    audited(&bank).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn prune_keeps_what_an_open_event_needs_and_folds_what_has_ended() {
    let bank = Bank::open().await;
    let (context, verbs) = bank.coordinator().await;
    let ended = bank::transfer(bank.account(0, 0), bank.account(1, 0), 3);
    let report = strategy(NAME).transfer(&verbs, &ended, tries(1)).await;
    assert_eq!(report.outcome, Outcome::Committed);
    verbs.retire().await;
    // Its relays end with it.
    drop((context, verbs));
    let (half_context, half) = bank.coordinator().await;
    let owed = bank::transfer(bank.account(0, 1), bank.account(1, 1), 3);
    debit(&half, &owed).await;
    // Credited, and its answer is not delivered.
    half.handle_events(ShardIndex(1), &[debited(&owed)], None, NAME).await.expect("handled");
    for epoch in half.open_epochs().await.expect("listed") {
        half.close_epoch(epoch).await.expect("closed");
    }
    let prune = ["prune", "--older-than", "0s", "--clock-margin", "0s"];
    let pruned = run(&bank, &prune).await;
    assert_eq!(pruned.status.code(), Some(0), "{}", said(&pruned));
    assert_eq!(bank.legs_of(&ended).await, vec![], "{}", said(&pruned));
    assert_eq!(bank.legs_of(&owed).await.len(), 2, "{}", said(&pruned));
    for shard in 0..2 {
        let events = "select count(*) from shardbank.outbox where transfer_id = $1";
        let client = bank.client(shard).await;
        let of = async |id| client.query_one(events, &[id]).await.expect("counted").get(0);
        let (gone, kept): (i64, i64) = (of(&ended.id.0).await, of(&owed.id.0).await);
        assert_eq!((gone, kept), (0, 1), "shard {shard}");
    }
    assert!(bank.recover().await.is_clean());
    assert_eq!(bank.balance(bank.account(1, 1)).await, OPENING_BALANCE + 3);
    drop(half_context);
    audited(&bank).await;
}
