//! Distributed locks: one module a service, and here what is common to all of them.
//!
//! Whatever grants a lock, its guard is kept alive by a heartbeat from the moment of the grant (a
//! wait for the second lock of a transfer can outlive the first one's lease), work under it stops
//! a margin before the lease ends by this process's own monotonic clock, and its token is put
//! behind an epoch that is raised whenever the service's identity is another than before. None of
//! that makes anything safe: the shards do, as they check the fence.

pub mod advisory;
pub mod backend;
#[cfg(feature = "lock-etcd")]
pub mod etcd;
pub mod exposure;
pub mod lease;
#[cfg(feature = "lock-redis")]
pub mod redis;
pub mod service;
pub mod tls;
#[cfg(feature = "lock-zookeeper")]
pub mod zookeeper;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::coordination::lock_epoch;
use crate::locks::service::{Granted, Lease, Service};
use crate::shards::cluster::Cluster;
use crate::transfer::ShardIndex;
use crate::verbs::locking::{
    BoxFuture, Fence, HolderId, Lock, LockError, LockKey, LockService, LockTerms, Released,
};

/// A lease is renewed when this part of it is over.
const RENEW_AFTER: u32 = 3;
/// Work stops this part of the lease before its end.
const MARGIN: u32 = 10;
const PATIENCE: Duration = Duration::from_secs(5);

/// One thread's locks, by one service.
pub struct Locks {
    name: &'static str,
    service: Arc<dyn Service>,
    terms: LockTerms,
    cluster: Cluster,
    /// The identity that granted last, and its epoch.
    epoch: Mutex<Option<(Arc<str>, i32)>>,
}

impl Locks {
    /// Locks granted by `service`, which is called `name`, for the accounts of `cluster`.
    #[must_use]
    pub fn new(
        name: &'static str,
        service: Arc<dyn Service>,
        terms: LockTerms,
        cluster: Cluster,
    ) -> Self {
        Self { name, service, terms, cluster, epoch: Mutex::new(None) }
    }

    /// The epoch of what `identity` grants.
    async fn epoch_of(&self, identity: &Arc<str>) -> Result<i32, LockError> {
        let mut known = self.epoch.lock().await;
        if let Some((last, epoch)) = &*known
            && last == identity
        {
            return Ok(*epoch);
        }
        let away = |cause: String| {
            LockError::Unavailable(format!(
                "shard 0 does not tell the epoch of its grants: {cause}"
            ))
        };
        let asked = async {
            let target = self.cluster.target(ShardIndex(0));
            let client = target.connect(PATIENCE).await.map_err(|error| away(error.to_string()))?;
            lock_epoch::of(&client, self.name, identity)
                .await
                .map_err(|error| away(error.to_string()))
        };
        let epoch = tokio::time::timeout(PATIENCE, asked)
            .await
            .unwrap_or_else(|_| Err(away("no answer in time".to_owned())))?;
        *known = Some((Arc::clone(identity), epoch));
        Ok(epoch)
    }

    async fn held(&self, holder: HolderId, granted: Granted) -> Result<Box<dyn Lock>, LockError> {
        let Granted { token, identity, ends_at, round_trips, lease } = granted;
        match self.epoch_of(&identity).await {
            Ok(epoch) => {
                let fence = Fence { epoch, token, holder };
                Ok(Box::new(Held::new(fence, ends_at, round_trips, lease, self.terms.ttl)))
            }
            Err(error) => {
                // It would be fenced out everywhere. Where it cannot be released it runs out.
                lease.release().await.ok();
                Err(error)
            }
        }
    }
}

impl LockService for Locks {
    fn acquire(
        &self,
        key: LockKey,
        until: Instant,
    ) -> BoxFuture<'_, Result<Box<dyn Lock>, LockError>> {
        Box::pin(async move {
            let holder = HolderId::fresh();
            let (sender, receiver) = oneshot::channel();
            let service = Arc::clone(&self.service);
            // A task of its own: whoever waits may go away, and what is granted then must be
            // given back by somebody.
            tokio::spawn(async move {
                let granted = service.grant(key, holder, until).await;
                if let Err(Ok(unwanted)) = sender.send(granted) {
                    unwanted.lease.release().await.ok();
                }
            });
            let granted = receiver
                .await
                .unwrap_or_else(|_| Err(LockError::Unavailable("its task has ended".to_owned())))?;
            self.held(holder, granted).await
        })
    }
}

/// A lock that is held, with its heartbeat.
struct Held {
    fence: Fence,
    round_trips: u32,
    stop_at: watch::Receiver<Option<Instant>>,
    is_lost: Arc<AtomicBool>,
    lease: Beating,
    heartbeat: JoinHandle<()>,
    is_given_back: bool,
}

/// A lease that its heartbeat renews until it is taken out to be released.
type Beating = Arc<Mutex<Option<Box<dyn Lease>>>>;

async fn give_back(lease: Beating) -> Result<Released, LockError> {
    match lease.lock().await.take() {
        Some(lease) => lease.release().await,
        None => Ok(Released::AlreadyGone),
    }
}

impl Held {
    fn new(
        fence: Fence,
        ends_at: Option<Instant>,
        round_trips: u32,
        lease: Box<dyn Lease>,
        ttl: Duration,
    ) -> Self {
        let margin = ttl / MARGIN;
        let less = move |at: Option<Instant>| at.map(|at| at.checked_sub(margin).unwrap_or(at));
        let (sender, stop_at) = watch::channel(less(ends_at));
        let lease: Beating = Arc::new(Mutex::new(Some(lease)));
        let is_lost = Arc::new(AtomicBool::new(false));
        let beating = (Arc::clone(&lease), Arc::clone(&is_lost));
        let heartbeat = tokio::spawn(async move {
            let (lease, is_lost) = beating;
            loop {
                tokio::time::sleep(ttl / RENEW_AFTER).await;
                let renewed = match lease.lock().await.as_ref() {
                    Some(lease) => lease.renew().await,
                    None => return,
                };
                match renewed {
                    Ok(ends_at) => {
                        sender.send_replace(less(ends_at));
                    }
                    Err(LockError::Lost(_)) => {
                        is_lost.store(true, Ordering::Relaxed);
                        return;
                    }
                    // It may pass; until then the lease runs towards its end.
                    Err(LockError::Timeout | LockError::Unavailable(_)) => {}
                }
            }
        });
        Self { fence, round_trips, stop_at, is_lost, lease, heartbeat, is_given_back: false }
    }
}

impl Lock for Held {
    fn fence(&self) -> Fence {
        self.fence
    }

    fn stop_at(&self) -> Option<Instant> {
        if self.is_lost.load(Ordering::Relaxed) {
            return Some(Instant::now());
        }
        *self.stop_at.borrow()
    }

    fn round_trips(&self) -> u32 {
        self.round_trips
    }

    fn release(mut self: Box<Self>) -> BoxFuture<'static, Result<Released, LockError>> {
        self.heartbeat.abort();
        self.is_given_back = true;
        // A task of its own again: it is given back even where nobody waits for that.
        let released = tokio::spawn(give_back(Arc::clone(&self.lease)));
        Box::pin(async move {
            released
                .await
                .unwrap_or_else(|_| Err(LockError::Unavailable("its task has ended".to_owned())))
        })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.heartbeat.abort();
        // Without a runtime there is nobody left to release it; it runs out.
        if !self.is_given_back
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(give_back(Arc::clone(&self.lease)));
        }
    }
}
