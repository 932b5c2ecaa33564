//! Locks on a real etcd.

use std::sync::Arc;
use std::time::Duration;

use shardbank::locks::etcd::{Etcd, EtcdSettings};
use shardbank::locks::service::Service;
use shardbank::verbs::locking::{HolderId, LockError, Released};
use tokio::time::{Instant, sleep};

use crate::lock_checks::{self, comes_back, is_free, key, run, soon, take};
use crate::lock_servers::Server;

const TTL: Duration = Duration::from_secs(5);

fn settings(server: &Server) -> EtcdSettings {
    EtcdSettings::new(&format!("http://127.0.0.1:{}", server.port), "shardbank:test:")
        .expect("an address")
}

async fn connect(server: &Server, ttl: Duration) -> Arc<Etcd> {
    Arc::new(Etcd::connect(&settings(server), ttl).await.expect("a server of our own"))
}

#[test]
fn etcd_has_one_holder_at_a_time_and_growing_tokens() {
    run(async {
        let server = Server::etcd();
        let services = vec![connect(&server, TTL).await, connect(&server, TTL).await];
        lock_checks::one_holder_at_a_time(services.clone(), 10).await;
        lock_checks::other_keys_are_free(services[0].as_ref()).await;
    });
}

#[test]
fn an_etcd_lock_takes_one_message_or_two_and_lasts_its_ttl() {
    run(async {
        let server = Server::etcd();
        let (service, other) = (connect(&server, TTL).await, connect(&server, TTL).await);
        let granted = take(service.as_ref(), 1).await;
        assert_eq!(granted.round_trips, 1);
        let ends_at = granted.ends_at.expect("it has a time to live");
        assert!(ends_at > Instant::now() + TTL / 2);
        assert!(granted.lease.renew().await.unwrap() >= Some(ends_at));
        let (next, released) = tokio::join!(take(other.as_ref(), 1), async {
            sleep(Duration::from_millis(50)).await;
            granted.lease.release().await
        });
        assert_eq!(released, Ok(Released::Owned));
        assert_eq!(next.round_trips, 2, "joined, woken, looked once");
        assert_eq!(next.lease.release().await, Ok(Released::Owned));
    });
}

#[test]
fn an_etcd_waiter_that_gives_up_or_is_dropped_leaves_nothing() {
    run(async {
        let server = Server::etcd();
        let (service, other) = (connect(&server, TTL).await, connect(&server, TTL).await);
        lock_checks::a_waiter_gives_up_in_time(service.as_ref(), other.as_ref()).await;
        lock_checks::a_dropped_grant_leaves_nothing(&service, other.as_ref()).await;
    });
}

#[test]
fn an_etcd_lease_is_renewed_in_the_background_and_lost_when_the_process_stops() {
    run(async {
        let server = Server::etcd();
        let (service, other) = (
            connect(&server, Duration::from_secs(1)).await,
            connect(&server, Duration::from_secs(1)).await,
        );
        let held = take(service.as_ref(), 1).await;
        sleep(Duration::from_millis(3_500)).await;
        let ends_at = held.lease.renew().await.unwrap().expect("it has a time to live");
        assert!(ends_at > Instant::now());
        assert!(!is_free(other.as_ref(), 1, 100).await, "it was renewed");

        // Nothing of this process runs for longer than any lease lasts.
        std::thread::sleep(Duration::from_secs(4));
        lock_checks::what_ran_out_is_anothers(held, other.as_ref(), 1).await;
        // Both take new leases and go on.
        assert!(is_free(service.as_ref(), 1, 5_000).await);
    });
}

#[test]
fn an_etcd_that_is_killed_grants_nothing_and_goes_on_where_it_was() {
    run(async {
        let mut server = Server::etcd();
        let (service, other) = (connect(&server, TTL).await, connect(&server, TTL).await);
        let before = take(service.as_ref(), 1).await;
        server.kill();
        let asked = Instant::now();
        let refused = other.grant(key(2), HolderId::fresh(), soon(500)).await;
        let refused = refused.err().expect("there is no server");
        assert!(matches!(refused, LockError::Unavailable(_) | LockError::Timeout), "{refused}");
        assert!(asked.elapsed() < Duration::from_millis(1_500));
        server.start();

        assert!(!is_free_or_unavailable(other.as_ref(), 1).await, "it is held, and was stored");
        assert!(before.lease.renew().await.is_ok(), "the lease went on");
        let token = before.token;
        let identity = Arc::clone(&before.identity);
        assert_eq!(before.lease.release().await, Ok(Released::Owned));
        let after = comes_back(other.as_ref(), 1).await;
        assert!(token < after.token);
        assert_eq!(identity, after.identity);
        assert_eq!(after.lease.release().await, Ok(Released::Owned));
        // What was wanted while it was down has left nothing behind.
        let later = comes_back(service.as_ref(), 2).await;
        assert_eq!(later.lease.release().await, Ok(Released::Owned));
    });
}

async fn is_free_or_unavailable(service: &impl Service, account: i64) -> bool {
    service.grant(key(account), HolderId::fresh(), soon(700)).await.is_ok()
}

#[test]
fn an_answer_of_etcd_that_is_lost_leaves_no_lock() {
    run(async {
        let server = Server::etcd();
        let mut impatient = settings(&server);
        impatient.answer_within = Duration::from_millis(200);
        let service = Etcd::connect(&impatient, TTL).await.unwrap();
        let held = take(&service, 2).await;
        server.signal("STOP");
        let lost = service.grant(key(1), HolderId::fresh(), soon(300)).await;
        assert!(matches!(lost.err(), Some(LockError::Unavailable(_))));
        sleep(Duration::from_millis(500)).await;
        server.signal("CONT");
        let again = comes_back(&service, 1).await;
        assert!(held.lease.renew().await.is_ok(), "what was held before is held on");
        assert_eq!(again.lease.release().await, Ok(Released::Owned));
        assert_eq!(held.lease.release().await, Ok(Released::Owned));
    });
}

#[test]
fn an_etcd_that_lost_its_data_is_another_one() {
    run(async {
        let mut server = Server::etcd();
        let service = connect(&server, Duration::from_secs(1)).await;
        let first = take(service.as_ref(), 1).await;
        server.kill();
        server.wipe();
        server.start();
        let second = comes_back(service.as_ref(), 1).await;
        assert_ne!(first.identity, second.identity);
        // Told by the next heartbeat.
        sleep(Duration::from_millis(1_000)).await;
        assert!(matches!(first.lease.renew().await, Err(LockError::Lost(_))));
        assert_eq!(first.lease.release().await, Ok(Released::AlreadyGone));
        assert_eq!(second.lease.release().await, Ok(Released::Owned));
    });
}

#[test]
fn a_dropped_etcd_service_revokes_its_lease() {
    run(async {
        let server = Server::etcd();
        let (service, other) = (connect(&server, TTL).await, connect(&server, TTL).await);
        let held = take(service.as_ref(), 1).await;
        drop(service);
        assert!(!is_free(other.as_ref(), 1, 200).await, "a lock outlives the service");
        // As the holder's memory would be lost: nobody deletes the key but the lease's end.
        drop(held);
        assert!(is_free(other.as_ref(), 1, 1_000).await);
        let leases = r#"POST /v3/lease/leases HTTP/1.1
Host: x
Content-Length: 2
Connection: close

{}"#;
        let mut answer = String::new();
        for _ in 0..50 {
            answer = server.ask(&leases.replace('\n', "\r\n"));
            if answer.matches("\"ID\"").count() == 1 {
                return;
            }
            sleep(Duration::from_millis(20)).await;
        }
        panic!("only the other's lease is left: {answer}");
    });
}

#[test]
fn an_etcd_member_that_is_down_is_passed_over() {
    run(async {
        let server = Server::etcd();
        let addresses = format!("127.0.0.1:9,http://127.0.0.1:{}", server.port);
        let settings = EtcdSettings::new(&addresses, "shardbank:test:").unwrap();
        let service = Etcd::connect(&settings, TTL).await.unwrap();
        assert!(is_free(&service, 1, 2_000).await);
    });
}

/// A call of etcd's JSON gateway.
fn post(server: &Server, path: &str, body: &str) {
    let length = body.len();
    let answer = server.ask(&format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    ));
    assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
}

#[test]
fn an_etcd_password_is_used_and_not_shown() {
    run(async {
        let server = Server::etcd();
        post(&server, "/v3/auth/user/add", r#"{"name":"root","password":"s3cret"}"#);
        post(&server, "/v3/auth/role/add", r#"{"name":"root"}"#);
        post(&server, "/v3/auth/user/grant", r#"{"user":"root","role":"root"}"#);
        post(&server, "/v3/auth/enable", "{}");
        let refused = Etcd::connect(&settings(&server), TTL).await.unwrap_err();
        assert!(matches!(refused, LockError::Unavailable(_)), "{refused}");
        let wrong = settings(&server).login("root", "wr0ng");
        let refused = Etcd::connect(&wrong, TTL).await.unwrap_err();
        assert!(!refused.to_string().contains("wr0ng"), "{refused}");
        let right = settings(&server).login("root", "s3cret");
        let service = Arc::new(Etcd::connect(&right, TTL).await.unwrap());
        assert!(!format!("{service:?}").contains("s3cret"));
        lock_checks::one_holder_at_a_time(vec![service], 3).await;
    });
}
