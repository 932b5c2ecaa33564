//! What becomes of locks when connections break and servers die.

use super::proxy::{Flow, Proxy};
use super::*;

/// As short as a server grants them here.
const SHORT: Duration = Duration::from_secs(1);

/// Waits until a holder is told that it has lost its lock.
async fn loses(granted: &Granted) {
    let asked = Instant::now();
    while !matches!(granted.lease.renew().await, Err(LockError::Lost(_))) {
        assert!(asked.elapsed() < PATIENCE, "it is not told");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until a holder is told that it still has its lock.
async fn keeps(granted: &Granted) {
    let asked = Instant::now();
    while let Err(error) = granted.lease.renew().await {
        assert!(matches!(error, LockError::Unavailable(_)), "{error}");
        assert!(asked.elapsed() < PATIENCE, "it is not told");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_holder_that_is_cut_off_is_unsure_and_then_has_lost_and_the_next_token_is_greater() {
    let server = Server::start().await;
    let proxy = Proxy::to(server.port).await;
    let (far, near) = (service(&proxy.hosts(), SHORT).await, service(&server.hosts(), LONG).await);
    let first = grant(&far, 1, PATIENCE).await.expect("free");
    proxy.set(Flow::Nothing);
    let cut_off = Instant::now();
    let mut unsure = false;
    while cut_off.elapsed() < SHORT {
        match first.lease.renew().await {
            // Nothing that it was told after the cut counts.
            Ok(end) => assert!(end.expect("a session's end") <= cut_off + SHORT),
            Err(LockError::Unavailable(_)) => unsure = true,
            other => panic!("nobody can know that yet: {other:?}"),
        }
        sleep(Duration::from_millis(20)).await;
    }
    assert!(unsure, "it went on as if nothing had happened");
    let second = grant(&near, 1, PATIENCE).await.expect("the holder's session ends");
    assert!(cut_off + PATIENCE > Instant::now() && second.token > first.token);
    loses(&first).await;
    assert_eq!(first.lease.release().await, Ok(Released::AlreadyGone));
    assert!(second.lease.renew().await.is_ok());
    let refused = grant(&far, 1, Duration::from_millis(500)).await.err();
    assert!(matches!(refused, Some(LockError::Unavailable(_))), "{refused:?}");
    // The same value, in another session.
    proxy.set(Flow::Both);
    proxy.cut();
    assert_eq!(second.lease.release().await, Ok(Released::Owned));
    let third = grant(&far, 1, PATIENCE).await.expect("free");
    assert!(third.token > second.token && third.identity == first.identity);
}

#[tokio::test]
async fn a_connection_that_comes_back_in_time_costs_no_lock() {
    let server = Server::start().await;
    let watcher = server.watcher().await;
    let proxy = Proxy::to(server.port).await;
    let zookeeper = Arc::new(service(&proxy.hosts(), LONG).await);
    let granted = grant(&zookeeper, 1, PATIENCE).await.expect("free");
    let waiting = Arc::clone(&zookeeper);
    let waiter = tokio::spawn(async move { grant(&waiting, 1, PATIENCE).await });
    queue_of(&watcher, 1, 2).await;
    for _ in 0..5 {
        proxy.cut();
        sleep(Duration::from_millis(100)).await;
    }
    keeps(&granted).await;
    assert!(!waiter.is_finished());
    assert_eq!(granted.lease.release().await, Ok(Released::Owned));
    let next = timeout(PATIENCE, waiter).await.expect("woken").expect("no panic");
    assert!(next.expect("its turn").token > granted.token);
}

#[tokio::test]
async fn an_entry_whose_answer_is_lost_is_found_and_not_made_twice() {
    let server = Server::start().await;
    let watcher = server.watcher().await;
    let proxy = Proxy::to(server.port).await;
    let zookeeper = Arc::new(service(&proxy.hosts(), LONG).await);
    grant(&zookeeper, 1, PATIENCE).await.expect("free").lease.release().await.expect("released");
    proxy.set(Flow::Requests);
    let asking = Arc::clone(&zookeeper);
    let asked = tokio::spawn(async move { grant(&asking, 1, PATIENCE).await });
    queue_of(&watcher, 1, 1).await;
    let node = format!("{ROOT}/locks/1/{}", queue(&watcher, 1).await[0]);
    proxy.cut();
    proxy.set(Flow::Both);
    let granted = timeout(PATIENCE, asked).await.expect("answered").expect("no panic");
    let granted = granted.expect("it is the only one");
    let stat = watcher.check_stat(&node).await.expect("answered").expect("its node");
    assert_eq!((granted.token, queue(&watcher, 1).await.len()), (stat.czxid, 1));
    // The same with a grant that nobody waits for any more.
    proxy.set(Flow::Requests);
    let asking = Arc::clone(&zookeeper);
    let asked = tokio::spawn(async move { grant(&asking, 1, PATIENCE).await });
    queue_of(&watcher, 1, 2).await;
    asked.abort();
    sleep(Duration::from_millis(20)).await;
    proxy.cut();
    proxy.set(Flow::Both);
    queue_of(&watcher, 1, 1).await;
    // And with a release whose answer is lost: it does not run out, so it is seen to.
    proxy.set(Flow::Nothing);
    let released = tokio::spawn(granted.lease.release());
    sleep(Duration::from_millis(20)).await;
    proxy.cut();
    let released = timeout(PATIENCE, released).await.expect("answered").expect("no panic");
    assert!(matches!(released, Err(LockError::Unavailable(_))), "{released:?}");
    proxy.set(Flow::Both);
    queue_of(&watcher, 1, 0).await;
}

#[tokio::test]
async fn while_the_server_is_down_nothing_is_granted_and_afterwards_all_goes_on() {
    let mut server = Server::start().await;
    let zookeeper = Arc::new(service(&server.hosts(), LONG).await);
    let first = grant(&zookeeper, 1, PATIENCE).await.expect("free");
    let waiting = Arc::clone(&zookeeper);
    let waiter = tokio::spawn(async move { grant(&waiting, 1, PATIENCE).await });
    queue_of(&server.watcher().await, 1, 2).await;
    server.kill();
    for account in [1, 2] {
        let refused = grant(&zookeeper, account, Duration::from_millis(300)).await.err();
        assert!(matches!(refused, Some(LockError::Unavailable(_))), "{refused:?}");
    }
    assert!(matches!(first.lease.renew().await, Err(LockError::Unavailable(_))));
    assert!(!waiter.is_finished());
    server.restart().await;
    // Its session was written down: it still holds.
    keeps(&first).await;
    let watcher = server.watcher().await;
    queue_of(&watcher, 1, 2).await;
    assert_eq!(first.lease.release().await, Ok(Released::Owned));
    let second = timeout(PATIENCE, waiter).await.expect("woken").expect("no panic");
    let second = second.expect("its turn");
    assert!(second.token > first.token && second.identity == first.identity);
    // What was refused while it was down left nothing behind.
    let third = grant(&zookeeper, 2, PATIENCE).await.expect("free");
    assert!(third.token > second.token);
    assert_eq!((queue(&watcher, 1).await.len(), queue(&watcher, 2).await.len()), (1, 1));
}

#[tokio::test]
async fn a_server_that_stays_away_too_long_costs_the_locks_and_a_wiped_one_is_another() {
    let mut server = Server::start().await;
    let zookeeper = service(&server.hosts(), SHORT).await;
    let first = grant(&zookeeper, 1, PATIENCE).await.expect("free");
    server.kill();
    loses(&first).await;
    server.restart().await;
    // It has the record of the old session and lets it run out first.
    let second = grant(&zookeeper, 1, PATIENCE).await.expect("the old session ends");
    assert!(second.token > first.token && second.identity == first.identity);
    server.kill();
    server.wipe();
    server.restart().await;
    loses(&second).await;
    let third = grant(&zookeeper, 1, PATIENCE).await.expect("free");
    assert_ne!(third.identity, second.identity);
}

#[tokio::test]
async fn a_session_that_ended_while_its_process_was_stopped_costs_the_next_grant_nothing() {
    let server = Server::start().await;
    let zookeeper = service(&server.hosts(), SHORT).await;
    let granted = grant(&zookeeper, 1, PATIENCE).await.expect("granted");
    // Nothing of this process runs meanwhile, so that it learns of the end by its next request.
    let left = granted.ends_at.expect("a lease ends").saturating_duration_since(Instant::now());
    std::thread::sleep(left * 2 + Duration::from_secs(1));
    let again = grant(&zookeeper, 1, PATIENCE).await.expect("granted in another session");
    assert!(again.token > granted.token, "{} after {}", again.token, granted.token);
}
