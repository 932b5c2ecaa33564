//! Locks on etcd: a queue a lock, in the order in which its keys were created.
//!
//! The rules it keeps:
//!
//! - One lease for the whole service, in a `session`: a process that dies, or is stopped for
//!   too long, loses all its locks at once.
//! - To want a lock is to create the key `…/<account>/<holder>` under the lease, in a transaction
//!   that also returns who is before it; to hold it is to be the first. The token is the key's
//!   create revision, given when one joins the queue: first come, first served, so it grows with
//!   every grant all the same.
//! - Whoever was woken looks, in one transaction, whether his own key still stands, with the
//!   revision that it had, and whether nobody is before it. A waiter whose lease ran out while it
//!   waited would otherwise be granted a lock that it does not hold
//!   (<https://github.com/etcd-io/etcd/issues/11456>).
//! - etcd's own `Lock` call is not used: two calls under one lease are both granted at once.
//! - An answer that is lost may have left a key. It is deleted by the holder's id, which nobody
//!   else has; and since the request itself may come after that, the lease takes no new locks and
//!   is revoked when the last of its old ones is gone.
//!
//! A lease gives no mutual exclusion by itself, for its holder may not know yet that it ran out:
//! the shards check the token. Restoring etcd from a backup sets its revisions back; delete the
//! key `<prefix>incarnation` then, and it is another store. No TLS.

mod messages;
mod queue;
mod session;
mod settings;
mod watching;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use tokio::sync::Mutex;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until, timeout_at};

use self::queue::Place;
use self::session::Session;
pub use self::settings::{EtcdAddressError, EtcdSettings};
use self::watching::Watching;
use self::wire::Wire;
use super::service::{Granted, Service};
use crate::verbs::locking::{BoxFuture, HolderId, LockError, LockKey};

/// An etcd cluster that grants locks.
#[derive(Debug)]
pub struct Etcd {
    shared: Arc<Shared>,
    watch: AbortHandle,
}

#[derive(Debug)]
struct Shared {
    wire: Arc<Wire>,
    watching: Arc<Watching>,
    prefix: String,
    ttl: Duration,
    current: Mutex<Current>,
}

#[derive(Debug, Default)]
struct Current {
    session: Option<Arc<Session>>,
    /// The last attempt to take a lease that failed: when it ended, and why it did.
    failure: Option<(Instant, LockError)>,
}

impl Etcd {
    /// Takes a lease of at least `ttl`, in whole seconds: etcd may grant more, and what it granted
    /// is what counts. The lease is revoked, as far as time allows, when the value is dropped and
    /// nothing is held any more.
    ///
    /// # Errors
    /// [`LockError::Unavailable`]: etcd does not answer, or lets nobody in without a password.
    pub async fn connect(settings: &EtcdSettings, ttl: Duration) -> Result<Self, LockError> {
        let wire = Arc::new(Wire::new(settings.clone()));
        let watching = Arc::new(Watching::default());
        let (prefix, current) = (settings.prefix.clone(), Mutex::default());
        let queues = format!("{prefix}lock/");
        let watch = Arc::clone(&watching).watch(Arc::clone(&wire), queues);
        let shared = Arc::new(Shared { wire, watching, prefix, ttl, current });
        let mut opened = shared.session().await;
        // Which of the members are down is learnt by trying.
        for _ in 1..settings.addresses() {
            if opened.is_err() {
                opened = shared.session().await;
            }
        }
        if let Err(error) = opened {
            return Err(settings.objection().await.unwrap_or(error));
        }
        Ok(Self { shared, watch: tokio::spawn(watch).abort_handle() })
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

impl Shared {
    /// A lease that has not been lost.
    async fn session(&self) -> Result<Arc<Session>, LockError> {
        let asked = Instant::now();
        let mut current = self.current.lock().await;
        if let Some(session) = current.session.as_ref().filter(|session| session.ends_at().is_ok())
        {
            return Ok(Arc::clone(session));
        }
        // Many may have queued up behind one attempt; what it found is true for all of them.
        if let Some((_, error)) = current.failure.as_ref().filter(|(ended, _)| *ended >= asked) {
            return Err(error.clone());
        }
        current.session = None;
        match Session::open(&self.wire, &self.prefix, self.ttl).await {
            Ok(session) => Ok(Arc::clone(current.session.insert(Arc::new(session)))),
            Err(failure) => {
                let error = LockError::from(failure);
                current.failure = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    /// No new locks under `session`.
    async fn retire(&self, session: &Arc<Session>) {
        let mut current = self.current.lock().await;
        if current.session.as_ref().is_some_and(|current| Arc::ptr_eq(current, session)) {
            current.session = None;
        }
    }
}

impl Service for Etcd {
    fn grant(
        &self,
        key: LockKey,
        holder: HolderId,
        until: Instant,
    ) -> BoxFuture<'_, Result<Granted, LockError>> {
        Box::pin(grant(Arc::clone(&self.shared), key, holder, until))
    }
}

async fn grant(
    shared: Arc<Shared>,
    key: LockKey,
    holder: HolderId,
    until: Instant,
) -> Result<Granted, LockError> {
    let queue = format!("{}lock/{}/{}/", shared.prefix, key.shard.0, key.account);
    let mut round_trips = 0;
    let mut gave_up = LockError::Timeout;
    while Instant::now() < until {
        let session = match timeout_at(until, shared.session()).await {
            Ok(Ok(session)) => session,
            Ok(Err(error)) => {
                gave_up = error;
                let pause = Duration::from_millis(rand::rng().random_range(5..100));
                sleep_until(until.min(Instant::now() + pause)).await;
                continue;
            }
            Err(_) => return Err(LockError::Unavailable("etcd: no lease in time".to_owned())),
        };
        let place = Place::new(&shared, session, &queue, holder);
        match place.grant(until, &mut round_trips).await? {
            Some(granted) => return Ok(granted),
            // The lease was lost on the way. There is nothing left of it: once more, with another.
            None => gave_up = LockError::Unavailable("etcd: the lease was lost".to_owned()),
        }
    }
    Err(gave_up)
}
