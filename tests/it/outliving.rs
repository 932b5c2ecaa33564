//! What goes on after a coordinator's death: its last statement, and what its file has decided.

use std::time::Duration;

use shardbank::fail_points::{FailPoint, Needs};
use shardbank::outcome::{AbortReason, Decision, Refusal};
use shardbank::transfer::IdOrigin;
use shardbank::verbs::{DecisionKey, Verbs};

use crate::bank::Bank;
use crate::crash::{Order, recover_twice};
use crate::doomed::{Doomed, run, said};

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_outlives_its_killed_coordinator_leaves_no_orphan() {
    let bank = Bank::open().await;
    for (strategy, locked_shard) in [
        ("2pc", 0),
        ("2pc", 1),
        ("2pc:log=file", 1),
        ("2pc:statements=one-by-one", 0),
        ("2pc-last-agent", 0),
        ("2pc-last-agent", 1),
        ("same-shard", 0),
    ] {
        let context = format!("{strategy}, waiting on shard {locked_shard}");
        let needs = if strategy == "same-shard" { Needs::OneShard } else { Needs::Success };
        let order = Order::meeting(&bank, strategy, needs);
        let blocker = bank.lock(bank.account(locked_shard, 0)).await;
        let id = order.transfer.id.to_string();
        let arguments = order.arguments(&id, &["--lock-timeout", "600000"]);
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let doomed = Doomed::start(&bank, &words);

        // Its backend waits for the row, and will go on waiting when nobody is left to be told.
        let looker = bank.client(locked_shard).await;
        let waiting = async || -> i64 {
            let waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' \
                           and datname = current_database()";
            looker.query_one(waiting, &[]).await.expect("looked").get(0)
        };
        while waiting().await == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        doomed.kill().await;
        assert_eq!(waiting().await, 1, "{context}: it outlives its client");

        let recovery = run(&bank, &["recover"]).await;
        assert_eq!(recovery.status.code(), Some(0), "{context}: {}", said(&recovery));
        blocker.batch_execute("rollback").await.expect("unlocked");
        while waiting().await > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // Where the first recovery came before the server knew that the coordinator is dead, the
        // statement went on; then it stands whole or is found prepared now.
        let recovery = run(&bank, &["recover"]).await;
        assert_eq!(recovery.status.code(), Some(0), "{context}: {}", said(&recovery));
        let committed = !bank.legs_of(&order.transfer).await.is_empty();
        recover_twice(&bank, &order.transfer, committed, &context).await;
        let code = order.again(&bank).await.status.code();
        assert!(code == Some(0) || (code == Some(1) && !committed), "{context}: {code:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_the_table_waits_for_what_a_file_has_decided() {
    let bank = Bank::open().await;
    for origin in [IdOrigin::Fresh, IdOrigin::MayBeRepeated] {
        let mut order = Order::meeting(&bank, "2pc:log=file", Needs::Success);
        order.transfer.origin = origin;
        order.dies_at(&bank, FailPoint::TwoPhaseDecided).await.kill().await;
        let (_context, verbs) = bank.coordinator().await;
        let epoch = verbs.epoch().await.expect("an epoch");
        let key = DecisionKey::in_table(verbs.routing(), epoch, &order.transfer);
        let no = Refusal::Aborted(AbortReason::Unreachable);
        let asked = verbs.decide_abort(&key, no).await;
        assert!(asked.is_err(), "{origin:?}: {asked:?} while the file says commit");
        recover_twice(&bank, &order.transfer, true, "decided in a file").await;
        assert_eq!(verbs.decide_abort(&key, no).await, Ok(Decision::Commit), "{origin:?}");
    }
}
