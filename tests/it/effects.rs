//! Every strategy against real shards: what it does, what it answers, and that it answers the
//! same thing twice.

use shardbank::outcome::{AbortReason, Attempt, Outcome, Rejection};
use shardbank::transfer::{Amount, Transfer};
use shardbank::verbs::{Gid, Preparation, Register, Statements, Verbs};

use crate::bank::{self, Bank, OPENING_BALANCE};

const CROSS_SHARD: [&str; 11] = [
    "2pc",
    "2pc:statements=pipelined",
    "2pc:statements=one-by-one",
    "2pc:ack=early",
    "2pc:visit=parallel",
    "2pc:log=file",
    "2pc:log=file,statements=one-by-one",
    "2pc:log=file,statements=pipelined,ack=early",
    "2pc-last-agent",
    "2pc-last-agent:statements=pipelined",
    "2pc-last-agent:ack=early",
];

async fn run(bank: &Bank, strategy: &str, transfer: &Transfer) -> Outcome {
    let verbs = bank.teller().await;
    let report = bank::strategy(strategy).transfer(verbs, transfer, bank::tries(3)).await;
    verbs.drain().await;
    report.outcome
}

/// Nothing of `transfer` is prepared any more once the committers of early answers are done.
async fn ends_up_unprepared(bank: &Bank, transfer: &Transfer) {
    while !bank.prepared_of(transfer).await.is_empty() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_strategy_moves_the_money_in_both_directions() {
    let bank = Bank::open().await;
    for (n, strategy) in CROSS_SHARD.iter().enumerate() {
        let n = n as i64 % 10;
        let (low, high) = (bank.account(0, n), bank.account(2, n));
        let before = (bank.balance(low).await, bank.balance(high).await);
        let there = bank::transfer(low, high, 7);
        assert_eq!(run(&bank, strategy, &there).await, Outcome::Committed, "{strategy}");
        ends_up_unprepared(&bank, &there).await;
        let legs = vec![("credit".to_owned(), 7), ("debit".to_owned(), -7)];
        assert_eq!(bank.legs_of(&there).await, legs, "{strategy}");
        let back = bank::transfer(high, low, 5);
        assert_eq!(run(&bank, strategy, &back).await, Outcome::Committed, "{strategy}");
        ends_up_unprepared(&bank, &back).await;
        assert_eq!(bank.balance(low).await, before.0 - 2, "{strategy}");
        assert_eq!(bank.balance(high).await, before.1 + 2, "{strategy}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_shard_is_one_transaction_whatever_the_strategy() {
    let bank = Bank::open().await;
    for strategy in ["same-shard", "2pc", "2pc-last-agent"] {
        let transfer = bank::transfer(bank.account(1, 0), bank.account(1, 1), 3);
        assert_eq!(run(&bank, strategy, &transfer).await, Outcome::Committed);
        assert_eq!(bank.legs_of(&transfer).await.len(), 2);
    }
    assert_eq!(bank.balance(bank.account(1, 0)).await, OPENING_BALANCE - 9);
    assert_eq!(bank.balance(bank.account(1, 1)).await, OPENING_BALANCE + 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_id_gets_the_first_answer_and_moves_nothing_twice() {
    let bank = Bank::open().await;
    let (source, target) = (bank.account(0, 0), bank.account(1, 0));
    let mut expected = OPENING_BALANCE;
    for first in CROSS_SHARD {
        for second in ["2pc", "2pc:log=file", "2pc:statements=one-by-one", "2pc-last-agent"] {
            let transfer = bank::transfer(source, target, 1);
            assert_eq!(run(&bank, first, &transfer).await, Outcome::Committed, "{first}");
            ends_up_unprepared(&bank, &transfer).await;
            expected -= 1;
            let repeated = run(&bank, second, &bank::again(&transfer)).await;
            assert_eq!(repeated, Outcome::Committed, "{first} then {second}");
            assert_eq!(bank.balance(source).await, expected, "{first} then {second}");
        }
    }
    let transfer = bank::transfer(bank.account(2, 0), bank.account(2, 1), 1);
    for _ in 0..3 {
        assert_eq!(run(&bank, "same-shard", &bank::again(&transfer)).await, Outcome::Committed);
    }
    assert_eq!(bank.balance(bank.account(2, 1)).await, OPENING_BALANCE + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_id_with_other_arguments_is_refused() {
    let bank = Bank::open().await;
    for strategy in ["2pc", "2pc:log=file", "2pc:statements=one-by-one", "2pc-last-agent"] {
        let transfer = bank::transfer(bank.account(0, 0), bank.account(1, 0), 1);
        assert_eq!(run(&bank, strategy, &transfer).await, Outcome::Committed);
        let other =
            Transfer { amount: Amount::new(2).expect("positive"), ..bank::again(&transfer) };
        assert_eq!(run(&bank, strategy, &other).await, Outcome::IdReused, "{strategy}");
        let other = Transfer { target: bank.account(1, 1), ..bank::again(&transfer) };
        assert_eq!(run(&bank, strategy, &other).await, Outcome::IdReused, "{strategy}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_recorded_changes_nothing_and_is_final() {
    let bank = Bank::open().await;
    let closed = bank.account(2, 9);
    let full = bank.account(2, 8);
    let meddler = bank.client(2).await;
    meddler
        .execute("update shardbank.account set closed = true where id = $1", &[&closed.get()])
        .await
        .expect("closed");
    // An account so full that nothing more fits, with a ledger that explains it.
    let room = i64::MAX - OPENING_BALANCE;
    meddler
        .batch_execute(&format!(
            "begin; insert into shardbank.leg (transfer_id, kind, account_id, amount, outcome, strategy) \
             values (gen_random_uuid(), 'credit', {full}, {room}, 'applied', 'test'); \
             update shardbank.account set balance = {} where id = {full}; commit",
            i64::MAX
        ))
        .await
        .expect("filled");
    for strategy in CROSS_SHARD {
        for (source, target, amount, expected) in [
            (
                bank.account(0, 0),
                bank.account(1, 0),
                OPENING_BALANCE + 1,
                Rejection::InsufficientFunds,
            ),
            (
                bank.account(1, 0),
                bank.account(0, 0),
                OPENING_BALANCE + 1,
                Rejection::InsufficientFunds,
            ),
            (bank.account(0, 0), bank::missing_account(2), 1, Rejection::UnknownAccount),
            (bank.account(2, 0), bank::missing_account(0), 1, Rejection::UnknownAccount),
            (bank.account(0, 0), closed, 1, Rejection::ClosedAccount),
            (closed, bank.account(0, 0), 1, Rejection::ClosedAccount),
            (bank.account(0, 0), full, 1, Rejection::Overflow),
        ] {
            let transfer = bank::transfer(source, target, amount);
            let first = run(&bank, strategy, &transfer).await;
            assert_eq!(first, Outcome::Rejected(expected), "{strategy}");
            assert_eq!(bank.legs_of(&transfer).await, vec![], "{strategy} {expected:?}");
            // The obstacle goes away, and the answer stays: it was final.
            for second in [strategy, "2pc", "2pc-last-agent", "2pc:log=file"] {
                let repeated = run(&bank, second, &bank::again(&transfer)).await;
                assert_eq!(repeated, first, "{strategy} then {second}, {expected:?}");
            }
        }
    }
    assert_eq!(bank.balance(bank.account(0, 0)).await, OPENING_BALANCE);
    assert_eq!(bank.balance(bank.account(1, 0)).await, OPENING_BALANCE);
    // Money that this test made must not disturb the others' books.
    meddler
        .batch_execute(&format!(
            "begin; delete from shardbank.leg where account_id = {full} and strategy = 'test'; \
             update shardbank.account set balance = opening_balance where id = {full}; commit"
        ))
        .await
        .expect("emptied again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_effect_is_never_taken_for_a_vote() {
    let bank = Bank::open().await;
    let (_context, verbs) = bank.coordinator().await;
    for statements in [Statements::Pipelined, Statements::OneMessage, Statements::OneByOne] {
        let how = Preparation { strategy: "2pc", statements, claims_decision: false };
        let transfer = bank::transfer(bank.account(0, 0), bank.account(1, 0), OPENING_BALANCE + 1);
        let [debit, _credit] = transfer.branches(verbs.routing());
        let gid = bank::gid(&verbs, &debit, Register::Table).await;
        let vote = verbs.prepare(&debit, &gid, how).await;
        assert_eq!(vote, Attempt::Rejected(Rejection::InsufficientFunds), "{statements:?}");
        assert_eq!(bank.prepared_of(&transfer).await, Vec::<String>::new(), "{statements:?}");
        // The connection that said no carries the next branch as if nothing had been.
        let next = bank::transfer(bank.account(0, 0), bank.account(1, 0), 1);
        let [debit, _credit] = next.branches(verbs.routing());
        let gid = Gid { transfer: next.id, attempt: verbs.next_attempt(), ..gid };
        assert_eq!(verbs.prepare(&debit, &gid, how).await, Attempt::Done, "{statements:?}");
        assert_eq!(bank.prepared_of(&next).await, [gid.to_string()], "{statements:?}");
        verbs.roll_back_prepared(debit.shard, &gid).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_effect_outside_a_branch_does_not_run() {
    let bank = Bank::open().await;
    let client = bank.client(0).await;
    for function in ["debit", "credit"] {
        let error = client
            .execute(
                &format!(
                    "select shardbank.{function}_in_branch(gen_random_uuid(), $1, 2, 1, 'test')"
                ),
                &[&bank.account(0, 0).get()],
            )
            .await
            .expect_err("a BEGIN that was cancelled must not leave an effect to commit by itself");
        assert_eq!(error.code().map(|code| code.code()), Some("SB003"));
    }
    assert_eq!(bank.balance(bank.account(0, 0)).await, OPENING_BALANCE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_row_ends_in_an_abort_that_is_recorded() {
    let bank = Bank::open().await;
    for (strategy, locked_shard) in
        [("2pc", 0), ("2pc", 1), ("2pc:log=file", 1), ("2pc-last-agent", 0), ("2pc-last-agent", 1)]
    {
        let locked = bank.account(locked_shard, 0);
        let blocker = bank.lock(locked).await;
        let transfer = bank::transfer(bank.account(0, 0), bank.account(1, 0), 1);
        let (_context, verbs) = bank.coordinator().await;
        let report = bank::strategy(strategy).transfer(&verbs, &transfer, bank::tries(2)).await;
        assert_eq!(report.outcome, Outcome::Aborted(AbortReason::LockTimeout), "{strategy}");
        assert_eq!(report.tries, 2, "{strategy}");
        blocker.batch_execute("rollback").await.expect("unlocked");
        assert_eq!(
            run(&bank, strategy, &bank::again(&transfer)).await,
            report.outcome,
            "{strategy}"
        );
        assert_eq!(run(&bank, "2pc", &bank::again(&transfer)).await, report.outcome, "{strategy}");
        assert_eq!(bank.legs_of(&transfer).await, vec![], "{strategy}");
    }
}
