//! `recover --force`: for the day when a decision log is lost.

use shardbank::fail_points::FailPoint;
use shardbank::transfer::Transfer;

use crate::bank::{self, Bank};
use crate::doomed::{Doomed, run, said};

/// Leaves both branches of a transfer prepared and no decision log to ask. Returns the transfer
/// and the name of one of its branches.
async fn leave_without_log(bank: &Bank) -> (Transfer, String) {
    let transfer = bank::transfer(bank.account(0, 0), bank.account(1, 0), 5);
    let (from, to) = (transfer.source.to_string(), transfer.target.to_string());
    let id = transfer.id.to_string();
    let arguments = ["transfer", "--from", &from, "--to", &to, "--amount", "5", "--id", &id];
    let dying = ["--strategy", "2pc:log=file", "--fail-at", "2pc.all-prepared"];
    let mut doomed = Doomed::start(bank, &[&arguments[..], &dying[..]].concat());
    doomed.reaches(FailPoint::TwoPhaseAllPrepared).await;
    doomed.kill().await;
    let logs = std::fs::read_dir(bank.log_directory()).expect("the log's directory");
    for log in logs {
        let path = log.expect("an entry").path();
        if path.to_string_lossy().contains(&bank.cluster.id().to_string()) {
            std::fs::remove_file(path).expect("the log was there");
        }
    }
    let names = bank.prepared_of(&transfer).await;
    assert_eq!(names.len(), 2, "something is left dangling");
    (transfer, names[0].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_without_its_log_is_in_doubt_until_it_is_forced() {
    for (verdict, legs) in [("abort", 0), ("commit", 2)] {
        let bank = Bank::open().await;
        let (transfer, gid) = leave_without_log(&bank).await;

        let recovered = run(&bank, &["recover", "--grace", "0"]).await;
        assert_eq!(recovered.status.code(), Some(5), "{}", said(&recovered));
        assert!(said(&recovered).contains("recover --force"), "{}", said(&recovered));
        assert_eq!(bank.prepared_of(&transfer).await.len(), 2, "never guessed");

        let unconfirmed = run(&bank, &["recover", "--force", verdict, &gid]).await;
        assert_eq!(unconfirmed.status.code(), Some(2), "{}", said(&unconfirmed));
        assert_eq!(bank.prepared_of(&transfer).await.len(), 2, "never unasked");

        let forced = run(&bank, &["recover", "--force", verdict, &gid, "--yes"]).await;
        assert_eq!(forced.status.code(), Some(0), "{}", said(&forced));
        assert_eq!(bank.prepared_of(&transfer).await, Vec::<String>::new());
        assert_eq!(bank.legs_of(&transfer).await.len(), legs, "{verdict}");

        let audited = run(&bank, &["audit", "--at-rest"]).await;
        assert_eq!(audited.status.code(), Some(0), "{}", said(&audited));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verdict_that_stands_is_not_overruled() {
    let bank = Bank::open().await;
    let transfer = bank::transfer(bank.account(0, 0), bank.account(1, 0), 5);
    let (from, to) = (transfer.source.to_string(), transfer.target.to_string());
    let id = transfer.id.to_string();
    let arguments = ["transfer", "--from", &from, "--to", &to, "--amount", "5", "--id", &id];
    let dying = ["--strategy", "2pc", "--fail-at", "2pc.decided"];
    let mut doomed = Doomed::start(&bank, &[&arguments[..], &dying[..]].concat());
    doomed.reaches(FailPoint::TwoPhaseDecided).await;
    doomed.kill().await;
    let gid = bank.prepared_of(&transfer).await.swap_remove(0);
    let forced = run(&bank, &["recover", "--force", "abort", &gid, "--yes"]).await;
    assert_eq!(forced.status.code(), Some(1), "{}", said(&forced));
    assert!(said(&forced).contains("commit stands"), "{}", said(&forced));
    assert_eq!(bank.prepared_of(&transfer).await.len(), 2);
    let recovered = run(&bank, &["recover"]).await;
    assert_eq!(recovered.status.code(), Some(0), "{}", said(&recovered));
    assert_eq!(bank.legs_of(&transfer).await.len(), 2);
}
