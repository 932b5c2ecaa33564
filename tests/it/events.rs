//! Transfers by events on real shards: what they do, what they answer, and that an event that is
//! delivered again, late, or in another order takes effect once.

use std::num::NonZeroU32;

use futures_util::future::join_all;
use shardbank::outcome::{Attempt, Outcome, Refusal, Rejection};
use shardbank::strategies::relay::{Round, round};
use shardbank::strategies::saga_choreographed::{BATCH, NAME};
use shardbank::transfer::{ShardIndex, Transfer};
use shardbank::verbs::events::{Event, EventVerbs, Handled, Happened, Settled};

use crate::bank::{self, Bank, OPENING_BALANCE, again, strategy, tries};
use crate::doomed::{run, said};

/// The event that announces the debit of `transfer`.
pub fn debited(transfer: &Transfer) -> Event {
    Event { transfer: again(transfer), what: Happened::DebitCompleted }
}

/// Debits by events and leaves the rest to others.
pub async fn debit<V: EventVerbs>(verbs: &V, transfer: &Transfer) {
    let debit = transfer.debit(verbs.routing());
    assert_eq!(verbs.debit_with_event(&debit, NAME).await, Attempt::Done);
}

/// The audit at rest, which asks for no open event.
pub async fn audited(bank: &Bank) {
    let audit = run(bank, &["audit", "--at-rest"]).await;
    assert_eq!(audit.status.code(), Some(0), "{}", said(&audit));
}

/// The open events of `shard`.
pub async fn open(bank: &Bank, shard: u16) -> Vec<Event> {
    let teller = bank.teller().await;
    let (open, _) = teller.open_events(ShardIndex(shard)).await.expect("listed");
    open.into_iter().map(|open| open.event).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn events_move_the_money_in_both_directions_and_leave_nothing_open() {
    let bank = Bank::open().await;
    let teller = bank.teller().await;
    let (low, high) = (bank.account(0, 0), bank.account(2, 0));
    for (from, to, amount) in [(low, high, 7), (high, low, 5)] {
        let transfer = bank::transfer(from, to, amount);
        let report = strategy(NAME).transfer(teller, &transfer, tries(1)).await;
        assert_eq!(report.outcome, Outcome::Committed);
        let legs = vec![("credit".to_owned(), amount), ("debit".to_owned(), -amount)];
        assert_eq!(bank.legs_of(&transfer).await, legs);
        for name in [NAME, "2pc", "2pc-last-agent"] {
            let report = strategy(name).transfer(teller, &again(&transfer), tries(3)).await;
            assert_eq!(report.outcome, Outcome::Committed, "{name}");
        }
    }
    assert_eq!(bank.balance(low).await, OPENING_BALANCE - 2);
    assert_eq!(bank.balance(high).await, OPENING_BALANCE + 2);
    teller.drain().await;
    audited(&bank).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_refuses_has_the_debit_refunded_and_answers_alike_for_ever() {
    let bank = Bank::open().await;
    let teller = bank.teller().await;
    let closed = bank.account(1, 1);
    let client = bank.client(1).await;
    let close = "update shardbank.account set closed = true where id = $1";
    client.execute(close, &[&closed.get()]).await.expect("closed");
    for (source, target, why) in [
        (bank.account(0, 0), bank::missing_account(1), Rejection::UnknownAccount),
        (bank.account(2, 0), bank::missing_account(1), Rejection::UnknownAccount),
        (bank.account(0, 0), closed, Rejection::ClosedAccount),
        (bank.account(2, 0), closed, Rejection::ClosedAccount),
    ] {
        let transfer = bank::transfer(source, target, 9);
        let report = strategy(NAME).transfer(teller, &transfer, tries(1)).await;
        assert_eq!(report.outcome, Outcome::Rejected(why));
        assert_eq!(bank.balance(source).await, OPENING_BALANCE);
        let legs = vec![("debit".to_owned(), -9), ("refund".to_owned(), 9)];
        assert_eq!(bank.legs_of(&transfer).await, legs);
        for name in ["2pc", NAME, "2pc-last-agent", "2pc:log=file"] {
            let report = strategy(name).transfer(teller, &again(&transfer), tries(3)).await;
            assert_eq!(report.outcome, Outcome::Rejected(why), "{name}");
        }
        let other =
            Transfer { amount: bank::transfer(source, target, 8).amount, ..again(&transfer) };
        let report = strategy(NAME).transfer(teller, &other, tries(1)).await;
        assert_eq!(report.outcome, Outcome::IdReused);
    }
    teller.drain().await;
    audited(&bank).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_cannot_pay_is_answered_alike_for_ever() {
    let bank = Bank::open().await;
    let teller = bank.teller().await;
    for (from, to) in [(0, 1), (2, 1)] {
        let transfer = bank::transfer(bank.account(from, 0), bank.account(to, 0), 1_000_000);
        for name in [NAME, "2pc", NAME, "2pc-last-agent"] {
            let report = strategy(name).transfer(teller, &again(&transfer), tries(3)).await;
            let no = Outcome::Rejected(Rejection::InsufficientFunds);
            assert_eq!(report.outcome, no, "{name}");
        }
        assert_eq!(bank.legs_of(&transfer).await, vec![]);
    }
    audited(&bank).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_delivered_five_times_and_out_of_order_take_effect_once() {
    let bank = Bank::open().await;
    let teller = bank.teller().await;
    let source = bank.account(0, 0);
    let to = |target| bank::transfer(source, target, 10);
    let transfers = [to(bank.account(1, 0)), to(bank::missing_account(1)), to(bank.account(1, 1))];
    for transfer in &transfers {
        debit(teller, transfer).await;
    }
    let mut events: Vec<Event> = transfers.iter().map(debited).collect();
    let mut answers = Vec::new();
    for _ in 0..5 {
        events.rotate_left(1);
        let handled = teller.handle_events(ShardIndex(1), &events, None, NAME).await;
        answers = handled
            .expect("handled")
            .into_iter()
            .map(|one| match one {
                Handled::Answered(answer) => answer,
                Handled::Settled(_) => panic!("{one:?}"),
            })
            .collect();
    }
    assert_eq!(bank.balance(bank.account(1, 0)).await, OPENING_BALANCE + 10);
    assert_eq!(bank.balance(bank.account(1, 1)).await, OPENING_BALANCE + 10);
    assert_eq!(bank.balance(source).await, OPENING_BALANCE - 30);
    // The answers too, late and one by one; and then the debits once more.
    for _ in 0..5 {
        answers.reverse();
        for answer in &answers {
            let alone = std::slice::from_ref(answer);
            let handled = teller.handle_events(ShardIndex(0), alone, None, NAME).await;
            let end = match answer.what {
                Happened::CreditRejected(why) => Settled::Refunded(why),
                _ => Settled::Completed,
            };
            assert_eq!(handled, Ok(vec![Handled::Settled(Some(end))]));
        }
    }
    teller.handle_events(ShardIndex(1), &events, None, NAME).await.expect("handled");
    assert_eq!(bank.balance(source).await, OPENING_BALANCE - 20);
    let unknown = Refusal::Rejected(Rejection::UnknownAccount);
    assert!(answers.iter().any(|answer| answer.what == Happened::CreditRejected(unknown)));
    // Answered again, the answers are to be sent again: to no effect.
    assert_eq!(open(&bank, 1).await.len(), 3);
    assert_eq!(round(teller, ShardIndex(1), BATCH).await, Round::Busy);
    assert_eq!(bank.balance(source).await, OPENING_BALANCE - 20);
    audited(&bank).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_without_an_answer_is_sent_again_and_nothing_is_refunded_for_it() {
    let bank = Bank::open().await;
    let teller = bank.teller().await;
    let transfer = bank::transfer(bank.account(0, 0), bank.account(1, 0), 4);
    debit(teller, &transfer).await;
    assert_eq!(round(teller, ShardIndex(0), BATCH).await, Round::Busy);
    let answers = bank.client(1).await;
    answers.execute("delete from shardbank.outbox", &[]).await.expect("the answer is lost");
    assert_eq!(round(teller, ShardIndex(0), BATCH).await, Round::Idle, "it is patient");
    assert_eq!(open(&bank, 0).await, [debited(&transfer)]);
    let late = "update shardbank.outbox set sent_at = sent_at - interval '1 hour'";
    bank.client(0).await.execute(late, &[]).await.expect("an hour has passed");
    for shard in [0, 1] {
        assert_eq!(round(teller, ShardIndex(shard), BATCH).await, Round::Busy);
    }
    assert_eq!(bank.balance(bank.account(1, 0)).await, OPENING_BALANCE + 4);
    assert_eq!(bank.balance(bank.account(0, 0)).await, OPENING_BALANCE - 4);
    audited(&bank).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_passes_over_what_comes_after_what_another_has_taken() {
    let bank = Bank::open().await;
    let teller = bank.teller().await;
    let one = |n| bank::transfer(bank.account(0, n), bank.account(1, n), 1);
    let transfers = [one(0), one(0), one(1), one(0), one(2)];
    for transfer in &transfers {
        debit(teller, transfer).await;
    }
    let events = transfers.map(|transfer| debited(&transfer));
    let limit = |n| NonZeroU32::new(n).expect("at least one");
    let mut taken = Vec::new();
    for (n, expected) in [(1, &events[..1]), (9, &[events[2], events[4]]), (9, &[])] {
        let took = teller.take_events(ShardIndex(0), limit(n)).await.expect("taken").events;
        assert_eq!(took, expected);
        taken.extend(took);
    }
    teller.handle_events(ShardIndex(1), &events[..1], None, NAME).await.expect("handled");
    teller.mark_sent(ShardIndex(0), &events[..1]).await.expect("marked");
    let took = teller.take_events(ShardIndex(0), limit(9)).await.expect("taken").events;
    assert_eq!(took, [events[1], events[3]], "in the order of their account");
    assert!(bank.recover().await.is_clean());
    audited(&bank).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn relays_of_three_processes_at_once_deliver_everything_once() {
    let bank = Bank::open().await;
    let coordinators =
        [bank.coordinator().await, bank.coordinator().await, bank.coordinator().await];
    let carried = coordinators.iter().zip(0..).map(async |((_context, verbs), n)| {
        for i in 0..12 {
            let (from, to) = ((i + n) % 3, (i + n + 1) % 3);
            let target = if i % 4 == 3 {
                bank::missing_account(to)
            } else {
                bank.account(to, i64::from(i % 2))
            };
            let transfer = bank::transfer(bank.account(from, i64::from(i % 2)), target, 3);
            let report = strategy(NAME).transfer(verbs, &transfer, tries(5)).await;
            let refused = Outcome::Rejected(Rejection::UnknownAccount);
            let expected = if i % 4 == 3 { refused } else { Outcome::Committed };
            assert_eq!(report.outcome, expected);
        }
        verbs.drain().await;
    });
    join_all(carried).await;
    assert!(bank.recover().await.is_clean());
    audited(&bank).await;
}
