//! Locks on a real Redis.

use std::sync::Arc;
use std::time::Duration;

use shardbank::locks::redis::{Redis, RedisSettings};
use shardbank::locks::service::Service;
use shardbank::verbs::locking::{HolderId, LockError, Released};
use tokio::time::Instant;

use crate::lock_checks::{self, comes_back, is_free, key, run, soon, take};
use crate::lock_servers::Server;

const TTL: Duration = Duration::from_secs(5);

fn settings(server: &Server) -> RedisSettings {
    RedisSettings::new(&format!("redis://127.0.0.1:{}", server.port), "shardbank:test:")
        .expect("a URL")
}

async fn connect(server: &Server, ttl: Duration) -> Arc<Redis> {
    Arc::new(Redis::connect(&settings(server), ttl).await.expect("a server of our own"))
}

#[test]
fn redis_has_one_holder_at_a_time_and_growing_tokens() {
    run(async {
        let server = Server::redis(&[]);
        let services = vec![connect(&server, TTL).await, connect(&server, TTL).await];
        lock_checks::one_holder_at_a_time(services.clone(), 50).await;
        lock_checks::other_keys_are_free(services[0].as_ref()).await;
    });
}

#[test]
fn an_uncontended_redis_lock_takes_one_message_and_lasts_its_ttl() {
    run(async {
        let server = Server::redis(&[]);
        let service = connect(&server, TTL).await;
        let asked = Instant::now();
        let granted = take(service.as_ref(), 1).await;
        assert_eq!(granted.round_trips, 1);
        let ends_at = granted.ends_at.expect("it has a time to live");
        assert!(asked + TTL <= ends_at && ends_at <= Instant::now() + TTL);
        assert_eq!(granted.lease.release().await, Ok(Released::Owned));
    });
}

#[test]
fn a_redis_waiter_that_gives_up_or_is_dropped_leaves_nothing() {
    run(async {
        let server = Server::redis(&[]);
        let (service, other) = (connect(&server, TTL).await, connect(&server, TTL).await);
        lock_checks::a_waiter_gives_up_in_time(service.as_ref(), other.as_ref()).await;
        lock_checks::a_dropped_grant_leaves_nothing(&service, other.as_ref()).await;
    });
}

#[test]
fn a_redis_lock_that_is_not_renewed_is_granted_to_another() {
    run(async {
        let server = Server::redis(&[]);
        let short = connect(&server, Duration::from_millis(300)).await;
        let other = connect(&server, TTL).await;
        let held = take(short.as_ref(), 1).await;
        assert!(!is_free(other.as_ref(), 1, 100).await);
        lock_checks::what_ran_out_is_anothers(held, other.as_ref(), 1).await;
    });
}

#[test]
fn a_renewed_redis_lock_outlives_its_first_ttl() {
    run(async {
        let server = Server::redis(&[]);
        let service = connect(&server, Duration::from_millis(300)).await;
        let held = take(service.as_ref(), 1).await;
        for _ in 0..5 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let ends_at = held.lease.renew().await.unwrap().expect("it has a time to live");
            assert!(ends_at > Instant::now() + Duration::from_millis(150));
        }
        assert!(!is_free(service.as_ref(), 1, 50).await);
        assert_eq!(held.lease.release().await, Ok(Released::Owned));
    });
}

#[test]
fn a_redis_that_lost_its_data_is_another_one() {
    run(async {
        let mut server = Server::redis(&[]);
        let (service, other) = (connect(&server, TTL).await, connect(&server, TTL).await);
        let first = take(service.as_ref(), 1).await;

        // The same process, emptied: neither connection notices anything.
        assert_eq!(server.ask("FLUSHALL\r\n"), "+OK\r\n");
        let second = take(other.as_ref(), 1).await;
        assert_ne!(first.identity, second.identity);
        assert!(matches!(first.lease.renew().await, Err(LockError::Lost(_))));
        assert_eq!(first.lease.release().await, Ok(Released::AlreadyGone));
        let elsewhere = take(service.as_ref(), 2).await;
        assert_eq!(second.identity, elsewhere.identity, "what both find there is one and the same");

        // Another process, empty as well.
        server.kill();
        let asked = Instant::now();
        let refused = service.grant(key(1), HolderId::fresh(), soon(300)).await;
        assert!(matches!(refused.err(), Some(LockError::Unavailable(_))));
        assert!(asked.elapsed() < Duration::from_secs(2));
        server.start();
        let third = comes_back(service.as_ref(), 1).await;
        assert_ne!(second.identity, third.identity);
        assert!(matches!(second.lease.renew().await, Err(LockError::Lost(_))));
        assert_eq!(second.lease.release().await, Ok(Released::AlreadyGone));
        assert_eq!(third.lease.release().await, Ok(Released::Owned));
    });
}

#[test]
fn an_answer_of_redis_that_is_lost_leaves_no_lock() {
    run(async {
        let server = Server::redis(&[]);
        let mut impatient = settings(&server);
        impatient.answer_within = Duration::from_millis(100);
        let service = Redis::connect(&impatient, TTL).await.unwrap();
        // It takes the request and answers after both the answer and its taking back are given up.
        assert_eq!(server.ask("CLIENT PAUSE 400 ALL\r\n"), "+OK\r\n");
        let lost = service.grant(key(1), HolderId::fresh(), soon(200)).await;
        assert!(matches!(lost.err(), Some(LockError::Unavailable(_))));
        assert!(is_free(&service, 1, 2_000).await, "it would have run out after {TTL:?}");
    });
}

#[test]
fn a_redis_password_is_used_and_not_shown() {
    run(async {
        let server = Server::redis(&["--requirepass", "s3cret"]);
        let refused = Redis::connect(&settings(&server), TTL).await.unwrap_err();
        assert!(matches!(&refused, LockError::Unavailable(why) if why.contains("NOAUTH")));
        let wrong = format!("redis://:wr0ng@127.0.0.1:{}", server.port);
        let wrong = RedisSettings::new(&wrong, "shardbank:test:").unwrap();
        let refused = Redis::connect(&wrong, TTL).await.unwrap_err();
        assert!(!refused.to_string().contains("wr0ng"), "{refused}");
        let right = format!("redis://:s3cret@127.0.0.1:{}/3", server.port);
        let right = RedisSettings::new(&right, "shardbank:test:").unwrap();
        let service = Redis::connect(&right, TTL).await.unwrap();
        assert!(!format!("{service:?}").contains("s3cret"));
        assert!(is_free(&service, 1, 1_000).await);
    });
}
