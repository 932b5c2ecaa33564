//! A reset puts all shards back to what `init` left, or none.

use std::time::Duration;

use shardbank::audit::audit;
use shardbank::ledger::reset::{reset, set_closed};
use shardbank::outcome::{AbortReason, Outcome, Refusal, Rejection};
use shardbank::transfer::Transfer;
use shardbank::verbs::{DecisionKey, Verbs};

use crate::bank::{self, Bank, OPENING_BALANCE};

async fn committed(bank: &Bank) -> Transfer {
    let transfer = bank::transfer(bank.account(0, 0), bank.account(1, 0), 5);
    let verbs = bank.teller().await;
    for strategy in ["2pc", "2pc-last-agent", "2pc:log=file"] {
        let transfer = bank::transfer(transfer.source, transfer.target, 5);
        let report = bank::strategy(strategy).transfer(verbs, &transfer, bank::tries(1)).await;
        assert_eq!(report.outcome, Outcome::Committed, "{strategy}");
    }
    transfer
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_as_it_was_but_for_what_was_decided_against() {
    for bank in [Bank::open().await, Bank::open_on_one_server().await] {
        let transfer = committed(&bank).await;
        let verbs = bank.teller().await;
        let epoch = verbs.epoch().await.expect("an epoch");
        let stalled = bank::transfer(transfer.source, transfer.target, 1);
        let key = DecisionKey::in_table(verbs.routing(), epoch, &stalled);
        let why = Refusal::Aborted(AbortReason::Superseded);
        verbs.decide_abort(&key, why).await.expect("decided");

        let clients = bank.cluster.connect_all(Duration::from_secs(10)).await.expect("connected");
        let closed = transfer.source.get()..transfer.source.get() + 1;
        set_closed(&clients, closed, true).await.expect("closed");
        let late = bank::transfer(transfer.source, transfer.target, 1);
        let report = bank::strategy("2pc").transfer(verbs, &late, bank::tries(1)).await;
        assert_eq!(report.outcome, Outcome::Rejected(Rejection::ClosedAccount));
        let next_attempt = || verbs.next_attempt();
        reset(&clients, bank.cluster.id(), epoch, next_attempt).await.expect("reset");

        assert_eq!(bank.balance(transfer.source).await, OPENING_BALANCE);
        assert_eq!(bank.balance(transfer.target).await, OPENING_BALANCE);
        let report = audit(&bank.cluster).await.expect("every shard answers");
        assert!(report.is_conserved() && report.prepared.is_empty(), "{report:?}");
        let woken = bank::strategy("2pc-last-agent");
        let report = woken.transfer(verbs, &stalled, bank::tries(1)).await;
        assert_eq!(report.outcome, Outcome::Aborted(AbortReason::Superseded));
        committed(&bank).await;
    }
}
