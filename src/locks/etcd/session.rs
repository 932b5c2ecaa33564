//! One lease for all the locks of a service, kept alive in the background.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::RngExt;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout_at};

use super::messages::{Compare, Op, PutRequest, RangeRequest, TxnRequest};
use super::wire::{Failure, Wire};
use crate::verbs::locking::{HolderId, LockError};

/// A lease. All keys go with it; it is revoked when the last who uses it lets go.
#[derive(Debug)]
pub(super) struct Session {
    wire: Arc<Wire>,
    pub(super) lease: i64,
    /// The store in which the lease, and so every key under it, is.
    pub(super) identity: Arc<str>,
    life: Arc<Life>,
    heartbeat: AbortHandle,
}

#[derive(Debug)]
struct Life(Mutex<(Instant, Option<&'static str>)>);

impl Life {
    /// When the lease ends at the earliest, and why it is over already.
    fn state(&self) -> MutexGuard<'_, (Instant, Option<&'static str>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    /// Takes a lease of at least `ttl`. Keys begin with `prefix`.
    ///
    /// The identity is read *after* the lease was granted: a store that was wiped since knows
    /// nothing of the lease and grants nothing under it. etcd's own cluster id is not enough, for
    /// it is derived from the members' addresses and the same after a wipe; hence the marker.
    pub(super) async fn open(
        wire: &Arc<Wire>,
        prefix: &str,
        ttl: Duration,
    ) -> Result<Self, Failure> {
        let sent = Instant::now();
        let (lease, granted) = wire.grant_lease(ttl).await?;
        let life = Arc::new(Life(Mutex::new((sent + granted, None))));
        let beats = keep_alive(Arc::clone(wire), lease, granted, Arc::clone(&life));
        let heartbeat = tokio::spawn(beats).abort_handle();
        let (wire, identity) = (Arc::clone(wire), Arc::default());
        // From here on it is revoked when something goes wrong.
        let mut session = Self { wire, lease, identity, life, heartbeat };
        session.identity = session.identify(prefix).await?.into();
        Ok(session)
    }

    async fn identify(&self, prefix: &str) -> Result<String, Failure> {
        let key = format!("{prefix}incarnation");
        let fresh = HolderId::fresh().to_string();
        let put = PutRequest { key: key.as_str().into(), value: fresh.as_str().into(), lease: 0 };
        let range = RangeRequest { key: key.as_str().into(), ..RangeRequest::default() };
        let request = TxnRequest {
            compare: vec![Compare::created_by(&key, 0)],
            success: vec![Op::Put(put).into()],
            failure: vec![Op::Range(range).into()],
        };
        let answer = self.wire.txn(request).await?;
        let cluster = answer.header.as_ref().map_or(0, |header| header.cluster_id);
        let marker = match answer.succeeded {
            true => fresh,
            false => match answer.found().pop() {
                Some(found) => String::from_utf8_lossy(&found.value).into_owned(),
                None => return Err(Failure::Unknown("its incarnation was not told".to_owned())),
            },
        };
        Ok(format!("etcd:{cluster:x}:{marker}"))
    }

    /// When the lease ends unless it is renewed.
    ///
    /// # Errors
    /// [`LockError::Lost`]: etcd says that it is gone, or nobody can be sure any more.
    pub(super) fn ends_at(&self) -> Result<Instant, LockError> {
        let (ends_at, over) = *self.life.state();
        match over {
            Some(why) => Err(LockError::Lost(why.to_owned())),
            None if ends_at <= Instant::now() => Err(LockError::Lost(TOO_LATE.to_owned())),
            None => Ok(ends_at),
        }
    }

    /// etcd said so.
    pub(super) fn is_gone(&self) {
        self.life.state().1 = Some(GONE);
    }
}

const GONE: &str = "etcd has dropped the lease";
const TOO_LATE: &str = "the lease was not renewed in time";

impl Drop for Session {
    fn drop(&mut self) {
        self.heartbeat.abort();
        let over = self.life.state().1 == Some(GONE);
        // Without a runtime the process is about to end, and the lease runs out.
        if !over && let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (wire, lease) = (Arc::clone(&self.wire), self.lease);
            runtime.spawn(async move { wire.revoke_lease(lease).await });
        }
    }
}

/// Renews the lease at a third of what was granted. A renewal that fails in passing is tried again
/// until the lease has run out on our own clock.
async fn keep_alive(wire: Arc<Wire>, lease: i64, granted: Duration, life: Arc<Life>) {
    let mut pause = granted / 3;
    loop {
        sleep(pause).await;
        let (sent, ends_at) = (Instant::now(), life.state().0);
        match timeout_at(ends_at, wire.keep_alive(lease)).await {
            Ok(Ok(granted)) => {
                life.state().0 = sent + granted;
                pause = granted / 3;
            }
            Ok(Err(Failure::NoSuchLease)) => {
                life.state().1 = Some(GONE);
                return;
            }
            Ok(Err(_)) if Instant::now() < ends_at => {
                pause = granted.mul_f64(rand::rng().random_range(0.02..0.06));
            }
            Ok(Err(_)) | Err(_) => {
                life.state().1 = Some(TOO_LATE);
                return;
            }
        }
    }
}
