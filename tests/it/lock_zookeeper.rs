//! Locks in ZooKeeper, against a real server: what it grants, in which order, and what is left
//! when clients, connections and servers go away.

#[path = "lock_zookeeper/faults.rs"]
mod faults;
#[path = "lock_zookeeper/proxy.rs"]
mod proxy;
#[path = "lock_zookeeper/server.rs"]
pub mod server;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::SeqCst};
use std::time::Duration;

use shardbank::locks::service::{Granted, Service};
use shardbank::locks::tls::TlsFiles;
use shardbank::locks::zookeeper::{Digest, ZooKeeper, ZooKeeperSettings};
use shardbank::shards::Secret;
use shardbank::transfer::{AccountId, ShardIndex};
use shardbank::verbs::locking::{HolderId, LockError, LockKey, Released};
use tokio::time::{Instant, sleep, timeout};
use zookeeper_client::Client;

use server::Server;

/// Longer than any test waits: a session that ends within it ended for a reason.
const LONG: Duration = Duration::from_secs(20);

/// How long anything may take on a slow machine.
const PATIENCE: Duration = Duration::from_secs(30);

const ROOT: &str = "/shardbank/test";

fn settings(hosts: &str) -> ZooKeeperSettings {
    let (hosts, root, tls) = (hosts.to_owned(), ROOT.to_owned(), TlsFiles::default());
    ZooKeeperSettings { hosts, tls, root, digest: None }
}

async fn service(hosts: &str, ttl: Duration) -> ZooKeeper {
    ZooKeeper::connect(&settings(hosts), ttl).await.expect("a session")
}

fn key(account: i64) -> LockKey {
    LockKey { shard: ShardIndex(0), account: AccountId::new(account).expect("positive") }
}

async fn grant(zookeeper: &ZooKeeper, account: i64, wait: Duration) -> Result<Granted, LockError> {
    zookeeper.grant(key(account), HolderId::fresh(), Instant::now() + wait).await
}

/// The nodes of an account's queue, seen by somebody else.
async fn queue(watcher: &Client, account: i64) -> Vec<String> {
    let directory = format!("{ROOT}/locks/{account}");
    watcher.list_children(&directory).await.unwrap_or_default()
}

/// Waits until an account's queue has so many nodes.
async fn queue_of(watcher: &Client, account: i64, length: usize) {
    let reached = async {
        while queue(watcher, account).await.len() != length {
            sleep(Duration::from_millis(5)).await;
        }
    };
    let reached = timeout(PATIENCE, reached).await;
    assert!(reached.is_ok(), "the queue is {:?}, not {length}", queue(watcher, account).await);
}

#[tokio::test]
async fn sixteen_tasks_hold_a_lock_one_after_another_under_growing_tokens() {
    let server = Server::start().await;
    let services =
        [service(&server.hosts(), LONG).await, service(&server.hosts(), LONG).await].map(Arc::new);
    let (held, latest) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicI64::new(0)));
    let tasks = (0..16).map(|task| {
        let zookeeper = Arc::clone(&services[task % 2]);
        let (held, latest) = (Arc::clone(&held), Arc::clone(&latest));
        tokio::spawn(async move {
            for round in 0..10 {
                let granted = grant(&zookeeper, 1, PATIENCE).await.expect("granted");
                assert!(!held.swap(true, SeqCst), "two hold it");
                let before = latest.swap(granted.token, SeqCst);
                assert!(granted.token > before, "{} after {before}", granted.token);
                assert!(granted.ends_at.expect("a session's end") > Instant::now());
                // Whoever has to wait is woken once: nobody watches more than his predecessor.
                let of_the_directory = if round == 0 { 2 } else { 0 };
                assert!(granted.round_trips <= 4 + of_the_directory, "{}", granted.round_trips);
                tokio::task::yield_now().await;
                held.store(false, SeqCst);
                assert_eq!(granted.lease.release().await, Ok(Released::Owned));
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.expect("no task fails");
    }
    let watcher = server.watcher().await;
    assert_eq!(queue(&watcher, 1).await, [""; 0]);
}

#[tokio::test]
async fn grants_come_in_the_order_in_which_they_were_asked_for() {
    let server = Server::start().await;
    let watcher = server.watcher().await;
    let zookeeper = Arc::new(service(&server.hosts(), LONG).await);
    let first = grant(&zookeeper, 1, PATIENCE).await.expect("free");
    let (came, mut order) = tokio::sync::mpsc::unbounded_channel();
    for waiter in 0..6 {
        let (zookeeper, came) = (Arc::clone(&zookeeper), came.clone());
        tokio::spawn(async move {
            let granted = grant(&zookeeper, 1, PATIENCE).await.expect("its turn");
            came.send(waiter).expect("somebody counts");
            granted.lease.release().await.expect("released");
        });
        queue_of(&watcher, 1, waiter + 2).await;
    }
    first.lease.release().await.expect("released");
    for expected in 0..6 {
        assert_eq!(timeout(PATIENCE, order.recv()).await, Ok(Some(expected)));
    }
}

#[tokio::test]
async fn nobody_releases_the_lock_of_another() {
    let server = Server::start().await;
    let watcher = server.watcher().await;
    let zookeeper = service(&server.hosts(), Duration::from_secs(2)).await;
    let first = grant(&zookeeper, 1, PATIENCE).await.expect("free");
    // An operator takes it away.
    let node = queue(&watcher, 1).await.remove(0);
    watcher.delete(&format!("{ROOT}/locks/1/{node}"), None).await.expect("it is there");
    let second = grant(&zookeeper, 1, PATIENCE).await.expect("free again");
    assert!(second.token > first.token);
    // A renewal believes what is recent, and looks after a while.
    sleep(Duration::from_secs(1)).await;
    let renewed = first.lease.renew().await;
    assert!(matches!(renewed, Err(LockError::Lost(_))), "{renewed:?}");
    assert_eq!(first.lease.release().await, Ok(Released::AlreadyGone));
    assert_eq!(queue(&watcher, 1).await.len(), 1);
    let end = second.lease.renew().await.expect("still held").expect("a session's end");
    assert!(end > Instant::now() + Duration::from_secs(1));
    assert_eq!(second.lease.release().await, Ok(Released::Owned));
}

#[tokio::test]
async fn a_waiter_whose_node_was_taken_away_is_not_granted_what_it_waited_for() {
    let server = Server::start().await;
    let watcher = server.watcher().await;
    let zookeeper = Arc::new(service(&server.hosts(), LONG).await);
    let first = grant(&zookeeper, 1, PATIENCE).await.expect("free");
    let holder = queue(&watcher, 1).await.remove(0);
    let waiting = Arc::clone(&zookeeper);
    let waiter = tokio::spawn(async move { grant(&waiting, 1, PATIENCE).await.err() });
    queue_of(&watcher, 1, 2).await;
    // Long enough for it to have looked who is in front.
    sleep(Duration::from_millis(100)).await;
    let node = queue(&watcher, 1).await.into_iter().find(|node| *node != holder).expect("two");
    watcher.delete(&format!("{ROOT}/locks/1/{node}"), None).await.expect("it is there");
    first.lease.release().await.expect("released");
    let refused = timeout(PATIENCE, waiter).await.expect("woken").expect("no panic");
    assert!(matches!(refused, Some(LockError::Unavailable(_))), "{refused:?}");
}

#[tokio::test]
async fn a_waiter_whose_time_is_up_leaves_the_queue() {
    let server = Server::start().await;
    let watcher = server.watcher().await;
    let zookeeper = service(&server.hosts(), LONG).await;
    let first = grant(&zookeeper, 1, PATIENCE).await.expect("free");
    for wait in [0, 1, 2, 5, 300].map(Duration::from_millis) {
        let asked = Instant::now();
        let refused = grant(&zookeeper, 1, wait).await.err();
        assert!(asked.elapsed() < wait + Duration::from_secs(3), "{:?}", asked.elapsed());
        if wait > Duration::from_millis(100) {
            assert_eq!(refused, Some(LockError::Timeout));
            assert_eq!(queue(&watcher, 1).await.len(), 1);
        }
        queue_of(&watcher, 1, 1).await;
    }
    assert_eq!(first.lease.release().await, Ok(Released::Owned));
}

#[tokio::test]
async fn a_grant_that_is_dropped_half_way_leaves_nothing() {
    let server = Server::start().await;
    let watcher = server.watcher().await;
    let zookeeper = service(&server.hosts(), LONG).await;
    for free in [true, false] {
        let first = grant(&zookeeper, 1, PATIENCE).await.expect("free");
        if free {
            first.lease.release().await.expect("released");
        } else {
            // Dropped and not released: the same.
            sleep(Duration::from_millis(5)).await;
            tokio::spawn(async move {
                sleep(Duration::from_millis(300)).await;
                drop(first);
            });
        }
        for after in 0..80 {
            let grant = grant(&zookeeper, 1, PATIENCE);
            drop(timeout(Duration::from_micros(after * 100), grant).await);
        }
        queue_of(&watcher, 1, 0).await;
    }
    let granted = grant(&zookeeper, 1, PATIENCE).await.expect("free");
    assert_eq!(granted.lease.release().await, Ok(Released::Owned));
}

#[tokio::test]
async fn what_is_dropped_gives_its_locks_back_at_once() {
    let server = Server::start().await;
    let (one, other) = (service(&server.hosts(), LONG).await, service(&server.hosts(), LONG).await);
    let first = grant(&one, 1, PATIENCE).await.expect("free");
    let dropped = Instant::now();
    drop(one);
    let second = grant(&other, 1, LONG / 2).await.expect("its holder is gone");
    assert!(dropped.elapsed() < LONG / 2 && second.token > first.token);
    assert!(matches!(first.lease.renew().await, Err(LockError::Lost(_))));
    assert_eq!(first.lease.release().await, Ok(Released::AlreadyGone));
    assert_eq!(second.lease.release().await, Ok(Released::Owned));
}

#[tokio::test]
async fn what_has_a_password_is_closed_to_those_who_lack_it() {
    let server = Server::start().await;
    let password = Secret::new("canary".to_owned());
    let digest = Some(Digest { user: "teller".to_owned(), password });
    let ours = ZooKeeperSettings { digest, ..settings(&server.hosts()) };
    let zookeeper = ZooKeeper::connect(&ours, LONG).await.expect("a root of its own");
    let granted = grant(&zookeeper, 1, PATIENCE).await.expect("free");
    let refused = ZooKeeper::connect(&settings(&server.hosts()), LONG).await.err();
    let refused = refused.expect("it has no password").to_string();
    assert!(refused.contains("not authorized"), "{refused}");
    assert_eq!(granted.lease.release().await, Ok(Released::Owned));
}

#[tokio::test]
async fn a_session_that_is_too_long_for_the_server_is_refused_with_the_remedy() {
    let server = Server::start().await;
    let asked = Duration::from_secs(61);
    let refused = ZooKeeper::connect(&settings(&server.hosts()), asked).await.err();
    let refused = refused.expect("it keeps one for a minute").to_string();
    assert!(refused.contains("maxSessionTimeout to 61000"), "{refused}");
    let asked = Instant::now();
    assert!(ZooKeeper::connect(&settings("127.0.0.1:1"), LONG).await.is_err());
    assert!(asked.elapsed() < LONG / 2, "nobody listens there, and that is known at once");
}
