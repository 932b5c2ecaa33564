//! Lock services that go away, come back, or come back with nothing: no damage, no progress without
//! them, and progress again.

use std::time::Duration;

use shardbank::ledger::postgres::PostgresVerbs;
use shardbank::local::services::{LocalService, ServiceKind};
use shardbank::locks::backend::{Backend, LockServer};
use shardbank::locks::tls::TlsFiles;
use shardbank::outcome::Outcome;
use shardbank::shards::Secret;
use shardbank::transfer::ShardIndex;
use shardbank::verbs::Verbs;
use shardbank::verbs::locking::{Claimed, LockKey, LockTerms, LockVerbs};
use tokio::task::block_in_place;
use tokio::time::Instant;

use crate::bank::{self, Bank, strategy, tries};
use crate::doomed::run;
use crate::support::own_lock_server;

const TERMS: LockTerms = LockTerms { ttl: Duration::from_secs(2), wait: Duration::from_secs(2) };

fn backend(server: &LocalService) -> Backend {
    let scheme = match server.kind() {
        ServiceKind::Redis => "redis://",
        ServiceKind::Etcd => "http://",
        ServiceKind::ZooKeeper => "",
    };
    let address = Secret::new(format!("{scheme}{}", server.address()));
    Backend::Server(LockServer {
        kind: server.kind(),
        address,
        login: None,
        tls: TlsFiles::default(),
    })
}

async fn coordinator(bank: &Bank, server: &LocalService) -> PostgresVerbs {
    let (context, verbs) = bank.coordinator().await;
    let opened = backend(server).open(&bank.cluster, &context.presence, 4, TERMS).await;
    verbs.with_locks(opened.unwrap_or_else(|error| panic!("{error}")), TERMS)
}

async fn carry(bank: &Bank, verbs: &PostgresVerbs, kind: ServiceKind) -> Outcome {
    let name = match kind {
        ServiceKind::Redis => "lock-redis",
        ServiceKind::Etcd => "lock-etcd",
        ServiceKind::ZooKeeper => "lock-zookeeper",
    };
    let transfer = bank::transfer(bank.account(0, 0), bank.account(1, 0), 1);
    strategy(name).transfer(verbs, &transfer, tries(1)).await.outcome
}

async fn stands_whole(bank: &Bank) {
    let audit = run(bank, &["audit", "--at-rest"]).await;
    assert_eq!(audit.status.code(), Some(0), "{}", crate::doomed::said(&audit));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_service_that_is_away_costs_progress_and_nothing_else() {
    for kind in ServiceKind::ALL {
        let bank = Bank::open().await;
        let mut server = block_in_place(|| own_lock_server(kind));
        let verbs = coordinator(&bank, &server).await;
        assert_eq!(carry(&bank, &verbs, kind).await, Outcome::Committed, "{kind}");

        block_in_place(|| server.kill());
        let without = carry(&bank, &verbs, kind).await;
        assert!(
            matches!(without, Outcome::Failed(_) | Outcome::Aborted(_)),
            "{kind} is away: {without:?}"
        );
        stands_whole(&bank).await;

        block_in_place(|| server.start_again(true)).unwrap_or_else(|error| panic!("{error}"));
        let deadline = Instant::now() + Duration::from_secs(60);
        while carry(&bank, &verbs, kind).await != Outcome::Committed {
            assert!(Instant::now() < deadline, "{kind} has come back, and nothing goes on");
        }
        stands_whole(&bank).await;
        let moved = bank::OPENING_BALANCE - bank.balance(bank.account(0, 0)).await;
        assert_eq!(moved, 2, "{kind}: what failed moved nothing");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_holders_that_an_empty_restart_makes_the_shards_let_in_the_later() {
    for kind in [ServiceKind::Redis, ServiceKind::Etcd] {
        let bank = Bank::open().await;
        let mut server = block_in_place(|| own_lock_server(kind));
        let first = coordinator(&bank, &server).await;
        let transfer = bank::transfer(bank.account(0, 0), bank.account(1, 0), 1);
        let routing = first.routing();
        let (debit, credit) = (transfer.debit(routing), transfer.credit(routing));
        let key = |shard| LockKey { shard: ShardIndex(shard), account: bank.account(shard, 0) };
        let until = || Instant::now() + Duration::from_secs(20);
        let old = [first.lock(key(0), until()).await, first.lock(key(1), until()).await]
            .map(|lock| lock.unwrap_or_else(|error| panic!("{kind}: {error}")));
        assert_eq!(first.claim(&credit, old[1].fence()).await, Claimed::Done, "{kind}");

        block_in_place(|| server.start_again(false)).unwrap_or_else(|error| panic!("{error}"));
        let second = coordinator(&bank, &server).await;
        let new = second.lock(key(1), until()).await;
        let new = new.unwrap_or_else(|error| panic!("{kind}, empty: {error}"));
        assert!(
            new.fence().epoch > old[1].fence().epoch,
            "{kind} has lost its data, so its tokens begin anew: {:?} after {:?}",
            new.fence(),
            old[1].fence()
        );
        assert!(!matches!(second.claim(&credit, new.fence()).await, Claimed::Not(_)), "{kind}");
        // Both hold the lock. The first has lost what it was worth.
        let late = first.credit_under_fence(&credit, old[1].fence(), "test").await;
        assert_ne!(late, shardbank::outcome::Attempt::Done, "{kind}");
        drop(new);
        drop(old);
        assert_eq!(bank.legs_of(&debit.transfer).await, vec![], "{kind}");
        let deadline = Instant::now() + Duration::from_secs(60);
        while carry(&bank, &second, kind).await != Outcome::Committed {
            assert!(Instant::now() < deadline, "{kind}: somebody is fenced out for ever");
        }
        stands_whole(&bank).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_change_of_service_nobody_is_fenced_out_for_ever() {
    let bank = Bank::open().await;
    // etcd's tokens are revisions, ZooKeeper's are transaction ids, Redis begins at 1.
    for kind in [ServiceKind::ZooKeeper, ServiceKind::Etcd, ServiceKind::Redis] {
        let server = crate::support::lock_server(kind);
        let verbs = coordinator(&bank, server).await;
        assert_eq!(carry(&bank, &verbs, kind).await, Outcome::Committed, "{kind}");
    }
    stands_whole(&bank).await;
}
