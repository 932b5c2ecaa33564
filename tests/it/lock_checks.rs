//! What every lock service must keep, whichever it is.

use std::cell::Cell;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};
use std::time::Duration;

use shardbank::locks::service::{Granted, Service};
use shardbank::transfer::{AccountId, ShardIndex};
use shardbank::verbs::locking::{HolderId, LockError, LockKey, Released};
use tokio::time::{Instant, sleep, timeout};

/// Runs `test` as a client thread of the tool runs: on a runtime of its own.
pub fn run<F: Future>(test: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
}

pub fn key(account: i64) -> LockKey {
    LockKey { shard: ShardIndex(0), account: AccountId::new(account).unwrap() }
}

pub fn soon(milliseconds: u64) -> Instant {
    Instant::now() + Duration::from_millis(milliseconds)
}

/// Acquires the lock as somebody new, waiting for up to 10 s.
pub async fn take(service: &impl Service, account: i64) -> Granted {
    service
        .grant(key(account), HolderId::fresh(), soon(10_000))
        .await
        .unwrap_or_else(|error| panic!("account {account}: {error}"))
}

/// Acquires it and gives it back, within `milliseconds`.
pub async fn is_free(service: &impl Service, account: i64, milliseconds: u64) -> bool {
    match service.grant(key(account), HolderId::fresh(), soon(milliseconds)).await {
        Ok(granted) => {
            assert_eq!(granted.lease.release().await, Ok(Released::Owned));
            true
        }
        Err(error) => {
            assert_eq!(error, LockError::Timeout);
            false
        }
    }
}

/// 16 tasks over `services` take one lock in turn: never two at once, each token above the last.
pub async fn one_holder_at_a_time(services: Vec<Arc<impl Service>>, rounds: u32) {
    let inside = Arc::new(AtomicBool::new(false));
    let last = Arc::new(AtomicI64::new(0));
    let done = Arc::new(AtomicU32::new(0));
    let mut tasks = Vec::new();
    for at in 0..16 {
        let service = Arc::clone(&services[at % services.len()]);
        let (inside, last, done) = (Arc::clone(&inside), Arc::clone(&last), Arc::clone(&done));
        tasks.push(tokio::spawn(async move {
            for _ in 0..rounds {
                let granted = service.grant(key(1), HolderId::fresh(), soon(30_000)).await;
                let granted = granted.unwrap_or_else(|error| panic!("task {at}: {error}"));
                assert!(!inside.swap(true, Ordering::SeqCst), "two holders at once");
                let before = last.swap(granted.token, Ordering::SeqCst);
                assert!(before < granted.token, "token {} after {before}", granted.token);
                tokio::task::yield_now().await;
                inside.store(false, Ordering::SeqCst);
                assert_eq!(granted.lease.release().await, Ok(Released::Owned));
                done.fetch_add(1, Ordering::SeqCst);
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(done.load(Ordering::SeqCst), 16 * rounds);
}

/// Locks of different accounts do not touch each other.
pub async fn other_keys_are_free(service: &impl Service) {
    let one = take(service, 2).await;
    let other = timeout(Duration::from_secs(2), take(service, 3)).await.expect("another lock");
    assert_eq!(one.identity, other.identity);
    assert_eq!(one.lease.release().await, Ok(Released::Owned));
    assert_eq!(other.lease.release().await, Ok(Released::Owned));
}

/// While it is held and renewed nobody else gets it; a waiter gives up in time, and its waiting
/// leaves nothing behind.
pub async fn a_waiter_gives_up_in_time(service: &impl Service, other: &impl Service) {
    let held = take(service, 4).await;
    let started = Instant::now();
    assert!(!is_free(other, 4, 300).await);
    let waited = started.elapsed();
    let right = Duration::from_millis(300)..Duration::from_millis(900);
    assert!(right.contains(&waited), "it waited {waited:?}");
    let ends_at = held.lease.renew().await.expect("it is still held");
    assert!(ends_at >= held.ends_at, "a renewal never shortens");
    assert_eq!(held.lease.release().await, Ok(Released::Owned));
    assert!(is_free(other, 4, 500).await, "the waiter that gave up left something");
}

/// Futures of grants are dropped at every moment, and the lock is free again within a moment.
pub async fn a_dropped_grant_leaves_nothing(service: &Arc<impl Service>, other: &impl Service) {
    for at in 0..60_u64 {
        // Granted or not, it ends here: what was granted is dropped as well.
        let cut_short = |after: u64| {
            let grant = service.grant(key(5), HolderId::fresh(), soon(5_000));
            timeout(Duration::from_micros(after), grant)
        };
        let _ = tokio::join!(cut_short(at * 50), cut_short(at * 80), cut_short(at * 110));
    }
    assert!(is_free(other, 5, 1_000).await, "a grant dropped on its way was left behind");
    let held = take(service.as_ref(), 5).await;
    for at in 0..20_u64 {
        let grant = service.grant(key(5), HolderId::fresh(), soon(5_000));
        assert!(timeout(Duration::from_millis(at), grant).await.is_err(), "it is held");
    }
    assert_eq!(held.lease.release().await, Ok(Released::Owned));
    assert!(is_free(other, 5, 1_000).await, "a waiter dropped on its way was left behind");
}

/// `held` belongs to a holder whose lease is not renewed, by whom the lock is wanted `other` gets
/// it when the lease ends; the first holder is told so and can spoil nothing.
pub async fn what_ran_out_is_anothers(held: Granted, other: &impl Service, account: i64) {
    let next = take(other, account).await;
    if held.identity == next.identity {
        assert!(held.token < next.token, "{} then {}", held.token, next.token);
    }
    let lost = held.lease.renew().await;
    assert!(matches!(lost, Err(LockError::Lost(_))), "the old holder is told {lost:?}");
    assert_eq!(held.lease.release().await, Ok(Released::AlreadyGone));
    assert!(!is_free(other, account, 200).await, "the old holder released another's lock");
    assert_eq!(next.lease.release().await, Ok(Released::Owned));
}

/// Calls `attempt` until it succeeds, for up to 20 s; the grants that fail meanwhile must fail
/// with [`LockError::Unavailable`] or [`LockError::Timeout`].
pub async fn comes_back(service: &impl Service, account: i64) -> Granted {
    let latest = soon(20_000);
    let tries = Cell::new(0);
    loop {
        tries.set(tries.get() + 1);
        match service.grant(key(account), HolderId::fresh(), soon(1_000)).await {
            Ok(granted) => return granted,
            Err(error) => {
                assert!(!matches!(error, LockError::Lost(_)), "{error}");
                assert!(Instant::now() < latest, "after {} tries: {error}", tries.get());
                sleep(Duration::from_millis(50)).await;
            }
        }
    }
}
