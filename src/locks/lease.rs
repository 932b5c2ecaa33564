//! Leases: rows of a table on the shard where the account lives.
//!
//! One upsert takes a lease that has run out and adds 1 to its token; release and renewal compare
//! the owner. Each is a commit, so a lock costs two flushes, which is what a durable lock costs.
//! Nobody is queued: who waits asks again after a random while, 1 ms at first and 20 ms at the
//! most, with full jitter. (A notification would take a lock of the whole database as it commits.)
//! So a hot lease is unfair, and its waits have a long tail.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use tokio::time::Instant;

use crate::coordination::lease;
use crate::coordination::presence::application_name;
use crate::locks::service::{Granted, Lease, Service};
use crate::shards::cluster::Cluster;
use crate::shards::failure::{Meaning, describe, meaning_of};
use crate::shards::session::{Session, SessionPool, SessionSettings};
use crate::transfer::Epoch;
use crate::verbs::locking::{BoxFuture, HolderId, LockError, LockKey, Released};

const PATIENCE: Duration = Duration::from_secs(5);
/// Another's upsert of the same row is waited for no longer.
const LOCK_TIMEOUT: Duration = Duration::from_secs(1);
const FIRST_WAIT: Duration = Duration::from_millis(1);
const LONGEST_WAIT: Duration = Duration::from_millis(20);

/// Leases, for one thread.
pub struct Leases {
    shared: Arc<Shared>,
}

struct Shared {
    pools: Vec<SessionPool>,
    identity: Arc<str>,
    ttl: Duration,
}

impl Leases {
    /// Leases of the accounts of `cluster`, over at most `connections` to each shard.
    #[must_use]
    pub fn new(cluster: &Cluster, epoch: Epoch, connections: usize, ttl: Duration) -> Self {
        let settings = SessionSettings {
            application_name: application_name(cluster.id(), epoch),
            lock_timeout: LOCK_TIMEOUT,
            statement_timeout: PATIENCE,
        };
        let pools = cluster
            .targets()
            .map(|(shard, target)| {
                SessionPool::new(shard, target.manager(), &settings, connections, PATIENCE)
            })
            .collect();
        let identity = cluster.id().to_string().into();
        Self { shared: Arc::new(Shared { pools, identity, ttl }) }
    }
}

impl Shared {
    /// Runs `act` on a connection to the key's shard. One that did not answer is closed.
    async fn ask<T>(
        &self,
        key: LockKey,
        act: impl AsyncFnOnce(&Session) -> Result<T, tokio_postgres::Error>,
    ) -> Result<T, (Meaning, LockError)> {
        let unknown = |cause: String| (Meaning::Unknown, LockError::Unavailable(cause));
        let pool = &self.pools[usize::from(key.shard.0)];
        let session = pool.session().await.map_err(|error| unknown(error.to_string()))?;
        match tokio::time::timeout(PATIENCE, act(&session)).await {
            Ok(Ok(answer)) => {
                session.settled();
                Ok(answer)
            }
            Ok(Err(error)) => {
                let meaning = meaning_of(&error);
                let cause = describe(key.shard, &error).to_string();
                if meaning != Meaning::Unknown {
                    session.settled();
                }
                Err((meaning, LockError::Unavailable(cause)))
            }
            Err(_) => Err(unknown("no answer in time".to_owned())),
        }
    }

    async fn release(&self, key: LockKey, holder: HolderId) -> Result<Released, LockError> {
        let released = self
            .ask(key, async |session| lease::release(session, key.account, holder.0).await)
            .await
            .map_err(|(_, error)| error)?;
        Ok(if released { Released::Owned } else { Released::AlreadyGone })
    }
}

impl Service for Leases {
    fn grant(
        &self,
        key: LockKey,
        holder: HolderId,
        until: Instant,
    ) -> BoxFuture<'_, Result<Granted, LockError>> {
        Box::pin(async move {
            let (mut round_trips, mut longest) = (0, FIRST_WAIT);
            loop {
                let sent = Instant::now();
                round_trips += 1;
                let ttl = self.shared.ttl;
                let taken = self
                    .shared
                    .ask(key, async |session| {
                        lease::take(session, key.account, ttl, holder.0).await
                    })
                    .await;
                match taken {
                    Ok(Some(token)) => {
                        return Ok(Granted {
                            token,
                            identity: Arc::clone(&self.shared.identity),
                            ends_at: Some(sent + ttl),
                            round_trips,
                            lease: Box::new(HeldLease {
                                shared: Arc::clone(&self.shared),
                                key,
                                holder,
                            }),
                        });
                    }
                    Ok(None) | Err((Meaning::Retry(_), _)) => {}
                    Err((_, error)) => {
                        // It may have been taken: given back by its owner's id, or it runs out.
                        self.shared.release(key, holder).await.ok();
                        return Err(error);
                    }
                }
                let wait = longest.mul_f64(rand::rng().random::<f64>());
                if Instant::now() + wait >= until {
                    return Err(LockError::Timeout);
                }
                tokio::time::sleep(wait).await;
                longest = (longest * 2).min(LONGEST_WAIT);
            }
        })
    }
}

struct HeldLease {
    shared: Arc<Shared>,
    key: LockKey,
    holder: HolderId,
}

impl Lease for HeldLease {
    fn renew(&self) -> BoxFuture<'_, Result<Option<Instant>, LockError>> {
        Box::pin(async move {
            let (key, ttl) = (self.key, self.shared.ttl);
            let sent = Instant::now();
            let renewed = self
                .shared
                .ask(key, async |session| {
                    lease::renew(session, key.account, ttl, self.holder.0).await
                })
                .await
                .map_err(|(_, error)| error)?;
            if renewed {
                Ok(Some(sent + ttl))
            } else {
                Err(LockError::Lost("it ran out".to_owned()))
            }
        })
    }

    fn release(self: Box<Self>) -> BoxFuture<'static, Result<Released, LockError>> {
        Box::pin(async move { self.shared.release(self.key, self.holder).await })
    }
}
