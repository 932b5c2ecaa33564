//! Who looks on sees a transfer half done, and never one that is whole or not begun.

use shardbank::bench::auditor::{Auditor, HalfVisible, Slice};
use shardbank::outcome::{Attempt, Decision, Finish, Outcome};
use shardbank::transfer::{ShardIndex, Transfer};
use shardbank::verbs::locking::{Claimed, Fence, HolderId, LockVerbs};
use shardbank::verbs::{Register, Verbs};

use crate::bank::{self, Bank};

/// The milliseconds around the instant at which `transfer` was started.
fn around(transfer: &Transfer) -> Slice {
    let (seconds, nanoseconds) = transfer.id.0.get_timestamp().expect("a v7").to_unix();
    let ms = seconds * 1000 + u64::from(nanoseconds / 1_000_000);
    Slice { from_ms: ms, until_ms: ms + 1 }
}

/// Looks of both orders at the one transfer that is there: visible, half, undetermined.
async fn looks(bank: &Bank, transfer: &Transfer) -> [[u64; 3]; 2] {
    let mut auditor = Auditor::open(bank.cluster.clone(), 1).await.expect("every shard answers");
    let routing = bank.cluster.routing();
    let [a, b] = [transfer.source, transfer.target].map(|account| routing.shard_of(account));
    let mut seen = [[0; 3]; 2];
    for (pair, seen) in [[a, b], [b, a]].into_iter().zip(&mut seen) {
        let HalfVisible { visible, half, undetermined, .. } =
            auditor.look(pair, around(transfer)).await.expect("every shard answers");
        *seen = [visible, half, undetermined];
    }
    seen
}

const NOTHING: [[u64; 3]; 2] = [[0, 0, 0]; 2];
const HALF: [[u64; 3]; 2] = [[1, 1, 0]; 2];
const WHOLE: [[u64; 3]; 2] = [[1, 0, 0]; 2];

#[tokio::test(flavor = "multi_thread")]
async fn two_phase_commit_is_half_visible_between_its_two_commits() {
    let bank = Bank::open().await;
    let verbs = bank.teller().await;
    let transfer = bank::transfer(bank.account(0, 0), bank.account(1, 0), 5);
    let gids = bank::prepare_both(verbs, &transfer, Register::Table).await;
    let participants = Some(transfer.participants(verbs.routing()));
    let key = gids[0].1.decision_key(gids[0].0);
    let decided = verbs.decide(&key, participants, Decision::Commit).await;
    assert_eq!(decided, Ok(Decision::Commit));
    assert_eq!(looks(&bank, &transfer).await, NOTHING, "what is prepared is not visible");
    assert_eq!(verbs.commit_prepared(gids[0].0, &gids[0].1).await, Finish::Done);
    assert_eq!(looks(&bank, &transfer).await, HALF);
    assert_eq!(verbs.commit_prepared(gids[1].0, &gids[1].1).await, Finish::Done);
    assert_eq!(looks(&bank, &transfer).await, WHOLE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_debit_under_locks_is_half_a_transfer_until_its_credit_or_its_refund() {
    let bank = Bank::open().await;
    let verbs = bank.teller().await;
    let routing = verbs.routing();
    let fence = || Fence { epoch: 1, token: 1, holder: HolderId::fresh() };
    for (n, is_refunded) in [(0, false), (1, true)] {
        let transfer = bank::transfer(bank.account(2, n), bank.account(1, n), 5);
        let (debit, credit) = (transfer.debit(routing), transfer.credit(routing));
        let debited = verbs.debit_with_intent(&debit, fence(), "lock-advisory").await;
        assert_eq!(debited, Claimed::Done);
        assert_eq!(looks(&bank, &transfer).await, HALF);
        let ended = if is_refunded {
            verbs.refund(&debit, "lock-advisory").await
        } else {
            verbs.credit_intended(&credit, "lock-advisory").await
        };
        assert_eq!(ended, Attempt::Done);
        assert_eq!(looks(&bank, &transfer).await, WHOLE);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stays_on_one_shard_is_never_half_visible() {
    let bank = Bank::open().await;
    let verbs = bank.teller().await;
    let mut auditor = Auditor::open(bank.cluster.clone(), 1).await.expect("every shard answers");
    let mut seen = HalfVisible::default();
    for n in 0..19 {
        let transfer = bank::transfer(bank.account(1, n), bank.account(1, n + 1), 1);
        let carried = async {
            let strategy = bank::strategy("same-shard");
            let report = strategy.transfer(verbs, &transfer, bank::tries(3)).await;
            assert_eq!(report.outcome, Outcome::Committed);
        };
        let pair = [ShardIndex(0), ShardIndex(1)];
        let (beside, ()) = tokio::join!(auditor.look(pair, around(&transfer)), carried);
        let after = auditor.look(pair, around(&transfer)).await.expect("every shard answers");
        seen = seen.and(beside.expect("every shard answers")).and(after);
    }
    // Each shard is in two of the three pairs, so one look in two counts what is on one alone.
    assert!((1..=38).contains(&seen.visible), "{seen:?}");
    assert_eq!((seen.half, seen.undetermined), (0, 0), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_of_other_shards_is_not_looked_at() {
    let bank = Bank::open().await;
    let verbs = bank.teller().await;
    let transfer = bank::transfer(bank.account(0, 0), bank.account(1, 0), 5);
    let report = bank::strategy("2pc").transfer(verbs, &transfer, bank::tries(3)).await;
    assert_eq!(report.outcome, Outcome::Committed);
    let mut auditor = Auditor::open(bank.cluster.clone(), 1).await.expect("every shard answers");
    for pair in [[0, 2], [2, 0], [1, 2], [2, 1]] {
        let seen = auditor.look(pair.map(ShardIndex), around(&transfer)).await.expect("answers");
        assert_eq!((seen.visible, seen.undetermined), (0, 0), "{pair:?}");
    }
}
