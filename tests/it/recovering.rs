//! What recovery makes of transfers whose coordinator is dead, slow or cut off, on real shards.

use std::time::Duration;

use shardbank::outcome::{AbortReason, Decision, Outcome};
use shardbank::strategies::recovery::{Recovered, recover};
use shardbank::transfer::Transfer;
use shardbank::verbs::{Gid, Liveness, Register, Verbs};

use crate::bank::{self, Bank, OPENING_BALANCE};

/// Prepares both branches, as a coordinator does that then dies.
async fn prepare_both<V: Verbs>(
    bank: &Bank,
    verbs: &V,
    transfer: &Transfer,
    register: Register,
) -> [Gid; 2] {
    let gids = bank::prepare_both(verbs, transfer, register).await.map(|(_, gid)| gid);
    assert_eq!(bank.prepared_of(transfer).await.len(), 2, "something is left dangling");
    gids
}

fn concerns(recovered: &Recovered, transfer: &Transfer) -> bool {
    let of = |gid: &Gid| gid.transfer == transfer.id;
    recovered.in_doubt.iter().any(|(_, gid, _)| of(gid))
        || recovered.unfinished.iter().any(|(_, gid)| of(gid))
        || recovered.damage.iter().any(|(_, gid, _)| of(gid))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undecided_transfer_of_a_dead_coordinator_is_rolled_back_for_good() {
    let bank = Bank::open().await;
    let transfer = bank::transfer(bank.account(0, 0), bank.account(1, 0), 5);
    let (context, verbs) = bank.coordinator().await;
    prepare_both(&bank, &verbs, &transfer, Register::Table).await;
    drop((context, verbs));

    let (_context, recoverer) = bank.coordinator().await;
    // Its session may take a moment to be gone; until then its young branches are left alone.
    while !bank.prepared_of(&transfer).await.is_empty() {
        assert!(!concerns(&recover(&recoverer, Duration::from_secs(3600)).await, &transfer));
    }
    assert_eq!(bank.legs_of(&transfer).await, vec![]);
    assert_eq!(bank.balance(bank.account(0, 0)).await, OPENING_BALANCE);
    let report =
        bank::strategy("2pc").transfer(&recoverer, &bank::again(&transfer), bank::tries(1)).await;
    assert_eq!(report.outcome, Outcome::Aborted(AbortReason::Superseded));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decided_transfer_of_a_dead_coordinator_is_committed() {
    let bank = Bank::open().await;
    for register in [Register::Table, Register::File] {
        let transfer = bank::transfer(bank.account(0, 1), bank.account(1, 1), 5);
        let (context, verbs) = bank.coordinator().await;
        let [first, _] = prepare_both(&bank, &verbs, &transfer, register).await;
        let participants = Some(transfer.participants(verbs.routing()));
        let decided = verbs
            .decide(
                &first.decision_key(transfer.branches(bank.cluster.routing())[0].shard),
                participants,
                Decision::Commit,
            )
            .await;
        assert_eq!(decided, Ok(Decision::Commit));
        drop((context, verbs));

        let (_context, recoverer) = bank.coordinator().await;
        while !bank.prepared_of(&transfer).await.is_empty() {
            let recovered = recover(&recoverer, Duration::from_secs(3600)).await;
            assert!(recovered.damage.is_empty(), "{recovered:?}");
        }
        assert_eq!(bank.legs_of(&transfer).await.len(), 2, "{register:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_coordinator_finds_that_it_has_been_decided_against() {
    let bank = Bank::open().await;
    let transfer = bank::transfer(bank.account(0, 0), bank.account(2, 0), 5);
    let (_context, slow) = bank.coordinator().await;
    let [first, _] = prepare_both(&bank, &slow, &transfer, Register::Table).await;
    // Within the grace period it is left alone; without one it is not, and that is safe.
    let (_other, recoverer) = bank.coordinator().await;
    assert_eq!(recoverer.liveness(first.epoch).await, Ok(Liveness::Live));
    recover(&recoverer, Duration::from_secs(3600)).await;
    assert_eq!(bank.prepared_of(&transfer).await.len(), 2);
    let recovered = recover(&recoverer, Duration::ZERO).await;
    assert!(recovered.false_aborts >= 2, "{recovered:?}");

    let participants = Some(transfer.participants(slow.routing()));
    let standing = slow
        .decide(
            &first.decision_key(transfer.branches(bank.cluster.routing())[0].shard),
            participants,
            Decision::Commit,
        )
        .await;
    assert!(matches!(standing, Ok(Decision::Abort(_))), "{standing:?}");
    assert_eq!(bank.legs_of(&transfer).await, vec![]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prepare_that_outlives_its_coordinator_never_becomes_an_orphan() {
    let bank = Bank::open().await;
    let source = bank.account(0, 0);
    let blocker = bank.lock(source).await;
    let transfer = bank::transfer(source, bank.account(1, 0), 5);
    let (context, verbs) = bank.patient_coordinator().await;
    let epoch = verbs.epoch().await.expect("an epoch");
    let dying = tokio::spawn(async move {
        bank::strategy("2pc").transfer(&verbs, &transfer, bank::tries(1)).await
    });
    // The branch is under way in the server: its backend waits for the row.
    let waiting = "select count(*) from pg_stat_activity \
         where wait_event_type = 'Lock' and application_name like '%/' || $1";
    let looker = bank.client(0).await;
    while looker.query_one(waiting, &[&epoch.to_string()]).await.expect("looked").get::<_, i64>(0)
        == 0
    {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    dying.abort();
    drop(context);

    // Recovery sees no prepared branch, for there is none yet. It ends the dead one's sessions.
    let (_context, recoverer) = bank.coordinator().await;
    loop {
        let recovered = recover(&recoverer, Duration::from_secs(3600)).await;
        if recovered.closed_epochs.contains(&epoch) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    blocker.batch_execute("rollback").await.expect("unlocked");
    let gone = looker.query_one(waiting, &[&epoch.to_string()]).await.expect("looked");
    assert_eq!(gone.get::<_, i64>(0), 0);
    recover(&recoverer, Duration::ZERO).await;
    assert_eq!(bank.prepared_of(&transfer).await, Vec::<String>::new());
    assert_eq!(bank.balance(source).await, OPENING_BALANCE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_whose_decision_log_is_lost_stays_in_doubt() {
    let bank = Bank::open().await;
    let transfer = bank::transfer(bank.account(0, 0), bank.account(1, 0), 5);
    let (context, verbs) = bank.coordinator().await;
    let [first, second] = prepare_both(&bank, &verbs, &transfer, Register::File).await;
    let path = shardbank::coordination::decision_log::path_of(
        &bank.log_directory(),
        verbs.cluster(),
        first.epoch,
    );
    std::fs::remove_file(path).expect("the log was there");
    drop((context, verbs));

    let (_context, recoverer) = bank.coordinator().await;
    let recovered = recover(&recoverer, Duration::ZERO).await;
    let (_, _, why) = recovered
        .in_doubt
        .iter()
        .find(|(_, gid, _)| gid.transfer == transfer.id)
        .expect("never guessed, always listed");
    assert!(why.message.contains("--decision-log"), "{why}");
    assert_eq!(bank.prepared_of(&transfer).await.len(), 2);
    for (branch, gid) in transfer.branches(recoverer.routing()).iter().zip([first, second]) {
        recoverer.roll_back_prepared(branch.shard, &gid).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_cut_leaves_the_answer_to_the_register() {
    let bank = Bank::open().await;
    for strategy in ["2pc", "2pc:log=file", "2pc-last-agent", "same-shard"] {
        let shards = if strategy == "same-shard" { (0, 0) } else { (0, 1) };
        let (source, target) = (bank.account(shards.0, 2), bank.account(shards.1, 3));
        let blocker = bank.lock(target).await;
        let transfer = bank::transfer(source, target, 1);
        let (_context, verbs) = bank.patient_coordinator().await;
        let epoch = verbs.epoch().await.expect("an epoch");
        let running = tokio::spawn(async move {
            bank::strategy(strategy).transfer(&verbs, &transfer, bank::tries(1)).await
        });
        let looker = bank.client(shards.1).await;
        let cut = "select count(pg_terminate_backend(pid)) from pg_stat_activity \
             where wait_event_type = 'Lock' and application_name like '%/' || $1";
        while looker.query_one(cut, &[&epoch.to_string()]).await.expect("cut").get::<_, i64>(0) == 0
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        blocker.batch_execute("rollback").await.expect("unlocked");
        let report = running.await.expect("it ends");
        let expected = Outcome::Aborted(AbortReason::Unreachable);
        assert_eq!(report.outcome, expected, "{strategy}");
        bank.recover().await;
        assert_eq!(bank.prepared_of(&transfer).await, Vec::<String>::new(), "{strategy}");
        assert_eq!(bank.legs_of(&transfer).await, vec![], "{strategy}");
    }
}
